"""Fixtures of the SDK's tests."""

import threading
from collections.abc import Iterator

import pytest
from hostile import HostileServer
from served import serving

from model_store.store import Store
from service.families.registry import FAMILIES


@pytest.fixture(scope="session")
def hostile() -> Iterator[HostileServer]:
    """A server that does what the test's script says."""
    with HostileServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def shipped_url() -> Iterator[str]:
    """The address of a service with the models that ship."""
    with serving(Store(), FAMILIES) as service:
        yield service.url
