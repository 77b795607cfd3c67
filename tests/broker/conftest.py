"""Every broker under the same tests: one factory per broker."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import queue_server
from queued import KINDS, Clock, MakeBroker, limits_of, memory_broker

from service.broker.base import Broker, Consumer, WorkerQueue
from service.broker.memory import MemoryBroker
from service.broker.redis import RedisBroker
from service.broker.unix.client import UnixBroker
from service.broker.unix.server import BrokerServer


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


class Joined:
    """A queue whose worker's face is reached over a Unix socket, as the service has it on one machine."""

    def __init__(self, memory: MemoryBroker, worker: UnixBroker) -> None:
        self._memory, self._worker = memory, worker

    def __getattr__(self, name: str) -> object:
        faced = {*vars(WorkerQueue), *vars(Consumer)} - {"close", "depth", "workers"}
        return getattr(self._worker if name in faced else self._memory, name)

    async def close(self) -> None:
        await self._worker.close()


@pytest.fixture
async def make_unix_broker(clock: Clock, tmp_path: Path) -> AsyncIterator[MakeBroker]:
    async with BrokerServer(memory_broker(clock, tmp_path), tmp_path / "queue") as server, AsyncExitStack() as stack:

        def make(**limits: float) -> Broker:
            server.broker = memory_broker(clock, tmp_path, **limits)
            joined = Joined(server.broker, UnixBroker(server.path, KINDS, bytes))
            stack.push_async_callback(joined.close)
            return joined  # type: ignore[return-value]

        yield make


@pytest.fixture(params=["memory", "unix", "redis"])
def make_broker(request: pytest.FixtureRequest, clock: Clock, tmp_path: Path) -> MakeBroker:
    """make_broker(**limits): a broker of the kind under test, empty, on the test's clock."""
    if request.param != "memory":
        return request.getfixturevalue(f"make_{request.param}_broker")
    return lambda **limits: memory_broker(clock, tmp_path, **limits)


@pytest.fixture
def broker(make_broker: MakeBroker) -> Broker:
    return make_broker()
