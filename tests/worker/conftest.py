"""A real worker on a toy model, a real queue and a real engine, with sessions that a test can make misbehave."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

import pytest
import toy

from model_store.store import ModelRef, Store
from service.broker.base import Limits
from service.broker.memory import MemoryBroker
from service.families.registry import Family
from service.families.session import Session
from service.runtime import onnx
from service.settings import Settings
from service.telemetry import Metrics
from service.worker.loop import Worker

MakeWorker = Callable[..., Worker]
Running = Callable[[Worker], AbstractAsyncContextManager[None]]


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker(Limits(lease_seconds=30.0))


@pytest.fixture
def model(toy_store: Store) -> ModelRef:
    return toy_store.resolve("toy-affine").ref


@pytest.fixture
def make_worker(toy_store: Store, broker: MemoryBroker) -> MakeWorker:
    """make_worker(kind=session, ...): the toy family with these sessions; with none, its own."""

    def make(settings: Settings | None = None, **sessions: Session) -> Worker:
        settings = settings or Settings(intra_op_threads=1, heartbeat_seconds=0.02)
        family = Family("toy", (), lambda _model, _graphs: sessions) if sessions else toy.TOY
        load_graph = partial(onnx.load_graph, settings=settings)
        return Worker(settings, broker, toy_store, [family], Metrics(), load_graph)

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
