"""Every broker under the same tests: one factory per broker."""

import pytest
from queued import Clock, MakeBroker

from service.broker.base import Broker, Limits
from service.broker.memory import MemoryBroker


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory"])
def make_broker(request: pytest.FixtureRequest, clock: Clock) -> MakeBroker:
    """make_broker(**limits): a broker of the kind under test, on the test's clock."""
    factories: dict[str, MakeBroker] = {"memory": lambda **limits: MemoryBroker(Limits(**limits), clock)}
    return factories[request.param]


@pytest.fixture
def broker(make_broker: MakeBroker) -> Broker:
    return make_broker()
