"""A queue's server of each test's own, a store with the toy model, and the processes that share them."""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import queue_server
import toy
from chaos.history import History
from chaos.knobs import Knobs, Start, broker_of, knobs_of
from chaos.processes import Member
from chaos.proxy import Proxy
from queue_server import Server

from model_store.store import Model, Store


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("store"))
    toy.publish_toy(store)
    return store


@pytest.fixture
def model(store: Store) -> Model:
    return store.resolve("toy-affine")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with queue_server.running(tmp_path, aof=True) as server:
        yield server
        server.kill()  # quicker than to ask


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    with Proxy(server.port) as proxy:
        yield proxy


@pytest.fixture
def knobs(server: Server, store: Store) -> Knobs:
    """The settings of every process of the test: short leases, so that the tests are quick."""
    return knobs_of(server.url, store.root)


@pytest.fixture
def start(knobs: Knobs) -> Iterator[Start]:
    """start(role, fault=None, **knobs): a process, ready; dead after the test."""
    with ExitStack() as stack:

        def start(
            role: str, fault: str | None = None, *, wait: bool = True, port: int | None = None, **changed: object
        ) -> Member:
            member = Member(role, {**knobs, **changed}, fault, port)
            stack.callback(member.end)
            if wait:
                member.wait_until_ready()
            return member

        yield start


@pytest.fixture
async def history(knobs: Knobs, model: Model) -> AsyncIterator[History]:
    """Jobs straight into the queue."""
    broker = broker_of(knobs)
    yield History(broker, model.ref)
    await broker.close()
