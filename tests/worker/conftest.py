"""A real worker on toy models, a real queue and a real engine, with sessions that a test can make misbehave."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import toy

from model_store.store import ModelRef, Store
from service.broker.aliases import AliasFile
from service.broker.base import Broker, Limits
from service.broker.memory import MemoryBroker
from service.families.family import Family
from service.families.session import Session
from service.runtime import onnx
from service.settings import Settings
from service.telemetry import Metrics
from service.worker.loop import Worker
from service.worker.residency import LoadGraph

MakeQueue = Callable[..., MemoryBroker]
MakeWorker = Callable[..., Worker]
Running = Callable[[Worker], AbstractAsyncContextManager[None]]
QUICK = Settings(intra_op_threads=1, heartbeat_seconds=0.02)


@pytest.fixture
def make_queue(tmp_path: Path) -> MakeQueue:
    """make_queue(lease_seconds=...): an empty queue."""
    return lambda **limits: MemoryBroker(Limits.of(Settings(**limits)), AliasFile(tmp_path / "aliases.json"))


@pytest.fixture
def broker(make_queue: MakeQueue) -> MemoryBroker:
    return make_queue(lease_seconds=30.0)


@pytest.fixture
def model(toy_store: Store) -> ModelRef:
    return toy_store.resolve("toy-affine").ref


@pytest.fixture
def make_worker(toy_store: Store, broker: MemoryBroker) -> MakeWorker:
    """make_worker(settings, scaling=session): the toy family, or this one session of ToyScaling."""

    def make(
        settings: Settings = QUICK,
        scaling: Session | None = None,
        queue: Broker | None = None,
        load_graph: LoadGraph | None = None,
    ) -> Worker:
        family = toy.TOY
        if scaling is not None:
            family = Family("toy", (), lambda _model, _graphs, _settings: {toy.ToyScaling: scaling})
        opened = load_graph or partial(onnx.load_graph, settings=settings)
        return Worker(settings, queue or broker, toy_store, [family], Metrics(), opened)

    return make


@pytest.fixture
def running() -> Running:
    """`async with running(worker)`: it serves meanwhile, and has stopped afterwards."""

    @asynccontextmanager
    async def run(worker: Worker) -> AsyncIterator[None]:
        task = asyncio.create_task(worker.run())
        try:
            yield
        finally:
            worker.stop()
            await task

    return run
