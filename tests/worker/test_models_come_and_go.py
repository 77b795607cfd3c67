"""Models are loaded beside the loop; over a budget of memory they leave the device and come back for the next job."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import toy

from model_store.manifest import GraphSpec
from model_store.store import ModelRef, Store
from service.broker.memory import MemoryBroker
from service.graph import Graph
from service.jobs import Block, Events, Job, block_of
from service.runtime import onnx
from service.settings import Settings
from service.worker.loop import Worker
from service.workers import ControlMessage

NAMES = ("a", "b", "c")


class GatedLoads:
    """Opens graphs; while it is shut, a load waits."""

    def __init__(self) -> None:
        self.opened, self.waiting, self.loads = threading.Event(), threading.Event(), 0
        self.opened.set()

    def __call__(self, data: bytes, spec: GraphSpec) -> Graph:
        self.loads += 1
        if not self.opened.is_set():
            self.waiting.set()
        self.opened.wait()
        return onnx.load_graph(data, spec, Settings(intra_op_threads=1))


@pytest.fixture
def refs(toy_store: Store) -> dict[str, ModelRef]:
    """Three toy models, a, b and c, beside the first."""
    return {name: toy.publish_toy(toy_store, name).ref for name in NAMES}


@pytest.fixture
def size_bytes(toy_store: Store, refs: dict[str, ModelRef]) -> int:
    """What one of them holds."""
    graphs = toy_store.resolve("a").manifest.graphs.values()
    return sum(spec.size_bytes for spec in graphs) + toy.CountSession.memory_bytes


def settings_of(**given: Any) -> Settings:
    return Settings(intra_op_threads=1, heartbeat_seconds=0.02, **{"models": NAMES} | given)


def scaling(model: ModelRef, value: float = 1.0, **fields: Any) -> Job:
    return job(model, block_of(toy.ToyScaling(), 1, x=np.full((1, *toy.SHAPE), value, np.float32)), **fields)


def counting(model: ModelRef, steps: int) -> Job:
    return job(model, Block(toy.ToyCounting(steps), np.arange(1), np.arange(1), np.full(1, float(steps))), stream=True)


def job(model: ModelRef, block: Block, **fields: Any) -> Job:
    return Job(f"{model}-{type(block.parameters).__name__}", model, "toy/op", block, 1e-5, **fields)


async def ask(broker: MemoryBroker, asked: Job) -> list[Events]:
    await broker.submit(asked)
    return [events async for events in broker.events(asked.id)]


async def until(true: Callable[[], object]) -> None:
    """Let the worker turn until this holds."""
    while not true():
        await asyncio.sleep(0.001)


def loaded(worker: Worker) -> dict[str, bool]:
    """What the heartbeat says of the models."""
    return {model.ref.name: model.loaded for model in worker.status().models}


async def test_rows_run_to_their_end_while_a_model_is_loaded_and_checked(
    make_worker: Any, running: Any, broker: MemoryBroker, refs: dict[str, ModelRef]
) -> None:
    loads = GatedLoads()
    worker: Worker = make_worker(settings_of(models=("a",)), load_graph=loads)
    async with running(worker):
        await until(lambda: loaded(worker))
        loads.opened.clear()
        await broker.send(ControlMessage("load", refs["b"]))
        await until(loads.waiting.is_set)
        assert [events.kind for events in await ask(broker, counting(refs["a"], 50))][-1] == "done"
        assert loaded(worker) == {"a": True}
        loads.opened.set()
        await until(lambda: "b" in loaded(worker))
        assert (await ask(broker, scaling(refs["b"])))[0].kind == "done"


def test_at_the_start_every_model_is_loaded_once_and_the_oldest_leave(
    make_worker: Any, refs: dict[str, ModelRef], size_bytes: int
) -> None:
    loads = GatedLoads()
    worker: Worker = make_worker(settings_of(memory_bytes=2 * size_bytes), load_graph=loads)
    worker.models.open(0.0)
    assert loaded(worker) == {"a": False, "b": True, "c": True}
    assert loads.loads == len(NAMES) * 2
    assert all(model.costs for model in worker.status().models)
    assert worker.models.names() == ["a@1", "b@1", "c@1"]


async def test_an_available_model_is_loaded_for_its_next_job_and_the_least_recently_used_leaves(
    make_worker: Any, running: Any, broker: MemoryBroker, refs: dict[str, ModelRef], size_bytes: int
) -> None:
    worker: Worker = make_worker(settings_of(memory_bytes=2 * size_bytes))
    async with running(worker):
        await until(lambda: len(loaded(worker)) == len(NAMES))
        assert (await ask(broker, scaling(refs["b"])))[0].kind == "done"
        (answer,) = await ask(broker, scaling(refs["a"], 3.0))
        assert answer.columns["y"].max() == 7.0
        assert loaded(worker) == {"a": True, "b": True, "c": False}


async def test_the_last_job_of_a_model_ends_before_it_leaves(
    make_worker: Any, running: Any, broker: MemoryBroker, refs: dict[str, ModelRef], size_bytes: int
) -> None:
    worker: Worker = make_worker(settings_of(models=("a", "b"), memory_bytes=size_bytes))
    async with running(worker):
        await until(lambda: len(loaded(worker)) == 2)
        long = counting(refs["b"], 300)
        await broker.submit(long)
        await until(worker.scheduler.held)
        (answer,) = await ask(broker, scaling(refs["a"]))
        assert answer.kind == "done"
        assert (await broker.status(long.id, "anonymous")).state == "done"
        assert loaded(worker) == {"a": True, "b": False}


async def test_a_job_that_waits_for_its_model_keeps_its_lease_and_can_be_cancelled(
    make_worker: Any, running: Any, broker: MemoryBroker, refs: dict[str, ModelRef], size_bytes: int
) -> None:
    loads = GatedLoads()
    worker: Worker = make_worker(settings_of(memory_bytes=2 * size_bytes), load_graph=loads)
    async with running(worker):
        await until(lambda: len(loaded(worker)) == len(NAMES))
        loads.opened.clear()
        waiting, other = scaling(refs["a"]), scaling(refs["c"])
        await broker.submit(waiting)
        await until(loads.waiting.is_set)
        assert loaded(worker)["a"]  # others see that it is being loaded here
        assert (await ask(broker, other))[0].kind == "done"
        assert await broker.cancel(waiting.id, "anonymous")
        await until(lambda: not worker.scheduler.held())
        loads.opened.set()


async def test_a_model_that_cannot_be_loaded_again_fails_its_jobs_and_is_not_served(
    make_worker: Any, running: Any, broker: MemoryBroker, refs: dict[str, ModelRef], size_bytes: int, toy_store: Store
) -> None:
    worker: Worker = make_worker(settings_of(memory_bytes=2 * size_bytes))
    async with running(worker):
        await until(lambda: len(loaded(worker)) == len(NAMES))
        (toy_store.resolve("a").folder / "scale.onnx").unlink()
        (answer,) = await ask(broker, scaling(refs["a"]))
        assert answer.failure is not None
        assert answer.failure.message == "a@1 could not be loaded again: the worker's log says why"
        assert "a" not in loaded(worker)


async def test_one_worker_loads_a_model_that_is_available_on_several(
    make_worker: Any, running: Any, broker: MemoryBroker, refs: dict[str, ModelRef], size_bytes: int
) -> None:
    budget = settings_of(memory_bytes=2 * size_bytes)
    first, second = make_worker(budget), make_worker(budget)
    async with running(first):
        await until(lambda: len(loaded(first)) == len(NAMES))
        assert (await ask(broker, scaling(refs["a"])))[0].kind == "done"
        async with running(second):
            await until(lambda: "a@1" in second.models.elsewhere)
            assert "a@1" not in second.models.names()
            assert "a@1" in first.models.names()


async def test_a_model_without_jobs_is_unloaded_after_a_while(
    make_worker: Any, running: Any, broker: MemoryBroker, refs: dict[str, ModelRef]
) -> None:
    worker: Worker = make_worker(settings_of(models=("a",), unload_idle_seconds=100.0))
    now = worker.clock()
    worker.clock = lambda: now
    async with running(worker):
        await until(lambda: loaded(worker) == {"a": True})
        worker.clock = lambda: now + 99.0
        assert (await ask(broker, scaling(refs["a"])))[0].kind == "done"
        worker.clock = lambda: now + 198.0
        assert loaded(worker) == {"a": True}
        worker.clock = lambda: now + 200.0
        await until(lambda: loaded(worker) == {"a": False})
        assert worker.ready
        assert (await ask(broker, counting(refs["a"], 2)))[-1].kind == "done"
