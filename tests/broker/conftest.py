"""Every broker under the same tests: one factory per broker."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import queue_server
from queued import KINDS, Clock, MakeBroker, limits_of, memory_broker

from service.broker.base import Broker
from service.broker.redis import RedisBroker


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def server_of_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[queue_server.Server]:
    with queue_server.running(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def server(server_of_session: queue_server.Server) -> queue_server.Server:
    """A running server without a key."""
    with server_of_session.client as client:
        client.flushall()
    return server_of_session


@pytest.fixture
async def make_redis_broker(server: queue_server.Server, clock: Clock) -> AsyncIterator[MakeBroker]:
    brokers: list[Broker] = []

    def make(**limits: float) -> Broker:
        if brokers:
            with server.client as client:
                client.flushall()
        brokers.append(RedisBroker(server.url, limits_of(**limits), KINDS, clock))
        return brokers[-1]

    yield make
    for broker in brokers:
        await broker.close()


@pytest.fixture(params=["memory", "redis"])
def make_broker(request: pytest.FixtureRequest, clock: Clock, tmp_path: Path) -> MakeBroker:
    """make_broker(**limits): a broker of the kind under test, empty, on the test's clock."""
    if request.param == "redis":
        return request.getfixturevalue("make_redis_broker")
    return lambda **limits: memory_broker(clock, tmp_path, **limits)


@pytest.fixture
def broker(make_broker: MakeBroker) -> Broker:
    return make_broker()
