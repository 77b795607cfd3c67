"""The worker among poisons, cancels, deadlines, lost leases and orders."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import pytest
import toy
from toy import ToyCounting, ToyScaling

from model_store.store import ModelRef, Store
from service.arrays import Columns
from service.broker.base import QueueAway
from service.broker.memory import MemoryBroker
from service.families.session import OneShot
from service.jobs import Block, Events, Failure, Job, Lease, Parameters, Range, block_of, failed
from service.settings import Settings
from service.worker.loop import Worker
from service.workers import ControlMessage, WorkerStatus

numbers: Iterator[int] = count()


def job(model: ModelRef, block: Block, **fields: Any) -> Job:
    return Job(f"job{next(numbers)}", model, "toy/op", block, 1e-5, **fields)


def scaling(*values: float) -> Block:
    """A row for each value, filled with it."""
    return block_of(ToyScaling(), len(values), x=np.stack([np.full(toy.SHAPE, value, np.float32) for value in values]))


def counting(steps: int, rows: int = 1) -> Block:
    return Block(ToyCounting(steps), np.arange(rows), np.arange(rows), np.full(rows, float(steps)))


async def ask(broker: MemoryBroker, asked: Job) -> list[Events]:
    await broker.submit(asked)
    return [events async for events in broker.events(asked.id)]


def codes(answer: Sequence[Events]) -> dict[int, str]:
    """How each row ended: "done" or its failure's code."""
    ends = [events for events in answer if events.terminal]
    return {row: one.failure.code if one.failure else one.kind for one in ends for row in one.rows.tolist()}


@dataclass(frozen=True)
class Unserved(Parameters):
    """A kind that no session has."""


FAILURE = Failure("row_failed", "it fails alone")


class Endless:
    """A session whose rows never end by themselves; `each_step` is called with them."""

    capacity = 8
    memory_bytes = 0

    def __init__(self, each_step: Callable[[Sequence[Range]], None] = lambda _: None) -> None:
        self.each_step = each_step
        self.resident: set[tuple[str, int]] = set()
        self.steps = 0
        self.closed = False

    def need(self, block: Block) -> int:
        return int(block.columns["x"].max())

    def admit(self, rows: Range, block: Block) -> None:
        self.closed = False
        self.resident.update(positions([rows]))

    def ready(self, rows: Sequence[Range]) -> Sequence[Range]:
        return rows

    def step(self, rows: Sequence[Range]) -> list[Events]:
        assert positions(rows) <= self.resident
        self.each_step(rows)
        self.steps += 1
        return [
            Events(one.job_id, "step", *np.array([[place, self.steps]]).T, {"x": np.zeros((1, 1))})
            for one in rows
            for place in range(one.start, one.stop)
        ]

    def drop(self, rows: Sequence[Range]) -> None:
        self.resident.difference_update(positions(rows))

    def close(self) -> None:
        self.closed = True


def positions(rows: Sequence[Range]) -> set[tuple[str, int]]:
    return {(one.job_id, place) for one in rows for place in range(one.start, one.stop)}


async def next_step_of(broker: MemoryBroker, job_id: str, kind: str = "step") -> None:
    """Until the job has an event of this kind."""
    async for event in broker.events(job_id):
        if event.kind == kind:
            return


async def until(true: Callable[[], bool]) -> None:
    """Let the worker turn until this holds."""
    while not true():
        await asyncio.sleep(0)


async def test_rows_of_different_length_share_steps_and_each_gets_its_own_answer(
    make_worker: Any, running: Any, broker: MemoryBroker, model: ModelRef
) -> None:
    async with running(make_worker()):
        first, second = await asyncio.gather(
            ask(broker, job(model, counting(7, rows=3))), ask(broker, job(model, counting(5)))
        )
        (alone,) = await ask(broker, job(model, counting(5)))
    assert codes(first) == {0: "done", 1: "done", 2: "done"}
    assert [events.kind for events in second] == ["done"]
    assert second[0].columns["x"].tobytes() == alone.columns["x"].tobytes()
    assert second[0].compute_ms[0] > 0.0
    assert second[0].progress.tolist() == [1.0]


async def test_steps_are_published_only_for_jobs_that_stream(
    make_worker: Any, running: Any, broker: MemoryBroker, model: ModelRef
) -> None:
    async with running(make_worker()):
        streamed = await ask(broker, job(model, counting(4), stream=True))
        silent = await ask(broker, job(model, counting(4)))
    assert [event.kind for event in streamed] == ["step"] * 4 + ["done"]
    assert [event.kind for event in silent] == ["done"]
    times = [event.compute_ms[0] for event in streamed]
    assert times == sorted(times)
    assert [event.progress[0] for event in streamed] == [0.25, 0.5, 0.75, 1.0, 1.0]


async def test_a_poisonous_row_fails_alone_and_its_neighbours_get_their_answers(
    make_worker: Any, running: Any, broker: MemoryBroker, model: ModelRef
) -> None:
    asked = job(model, scaling(1, 2, toy.POISON, 4, 5, 6, 7, 8))
    async with running(make_worker()):
        events = await ask(broker, asked)
    assert codes(events) == {row: "row_failed" if row == 2 else "done" for row in range(8)}
    done = [one for one in events if one.kind == "done"]
    answers = {row: float(y.max()) for one in done for row, y in zip(one.rows.tolist(), one.columns["y"], strict=True)}
    assert answers == {row: 2.0 * value + 1.0 for row, value in enumerate((1, 2, 3, 4, 5, 6, 7, 8)) if row != 2}
    failure = next(one.failure for one in events if one.failure)
    assert "poison" not in failure.message


async def test_a_row_that_is_not_finite_fails_alone(
    make_worker: Any, running: Any, broker: MemoryBroker, model: ModelRef
) -> None:
    async with running(make_worker()):
        events = await ask(broker, job(model, scaling(1, toy.NOT_FINITE, 3)))
    assert codes(events) == {0: "done", 1: "row_not_finite", 2: "done"}


async def test_a_row_that_cannot_be_admitted_fails_alone(
    make_worker: Any, running: Any, broker: MemoryBroker, model: ModelRef
) -> None:
    session = OneShot(lambda blocks: [{"y": block.columns["x"]} for block in blocks])
    admit = session.admit

    def refuse(rows: Range, block: Block) -> None:
        if (block.columns["x"][rows.start : rows.stop] == toy.POISON).any():
            raise ValueError("poison")
        admit(rows, block)

    session.admit = refuse
    async with running(make_worker(scaling=session)):
        assert codes(await ask(broker, job(model, scaling(1, toy.POISON, 3)))) == {
            0: "done",
            1: "row_failed",
            2: "done",
        }


async def test_memory_errors_halve_the_step_and_blame_nobody(
    make_worker: Any, running: Any, broker: MemoryBroker, model: ModelRef
) -> None:
    sizes = []

    def run(blocks: Sequence[Block]) -> list[Columns]:
        sizes.append(sum(map(len, blocks)))
        if sizes[-1] > 2:
            raise MemoryError
        return [{"y": np.zeros((len(block), 1))} for block in blocks]

    async with running(make_worker(scaling=OneShot(run))):
        events = await ask(broker, job(model, scaling(*range(8))))
    assert codes(events) == dict.fromkeys(range(8), "done")
    assert sizes == [8, 4, 2, 2, 4, 2, 2]


async def test_a_row_too_large_for_the_memory_alone_may_be_tried_again(
    make_worker: Any, running: Any, broker: MemoryBroker, model: ModelRef
) -> None:
    def run(blocks: Sequence[Block]) -> list[Columns]:
        raise MemoryError

    async with running(make_worker(scaling=OneShot(run))):
        assert codes(await ask(broker, job(model, scaling(1)))) == {0: "internal"}


async def test_a_cancelled_job_leaves_the_device_at_the_next_step(
    make_worker: Any, running: Any, broker: MemoryBroker, model: ModelRef
) -> None:
    session = Endless()
    worker: Worker = make_worker(scaling=session)
    victim = job(model, scaling(1, 2), stream=True)
    other = job(model, scaling(1), stream=True)
    async with running(worker):
        await broker.submit(victim)
        await broker.submit(other)
        await next_step_of(broker, victim.id)
        assert await broker.cancel(victim.id, "anonymous")
        steps = session.steps
        await until(lambda: session.steps >= steps + 3)
        assert {job_id for job_id, _ in session.resident} == {other.id}
        await broker.cancel(other.id, "anonymous")
        await until(lambda: not session.resident)
    assert worker.scheduler.held() == []


async def test_a_cancel_needs_neither_an_event_nor_a_heartbeat(
    make_worker: Any, broker: MemoryBroker, model: ModelRef
) -> None:
    session = Endless()
    rarely = Settings(intra_op_threads=1, heartbeat_seconds=60.0, lease_seconds=180.0)
    worker: Worker = make_worker(rarely, scaling=session)
    asked = job(model, scaling(1))
    await broker.submit(asked)
    task = asyncio.create_task(worker.run())
    await beats_after(broker, 0.0)
    await until(lambda: session.steps > 0)
    worker.stop()
    await broker.cancel(asked.id, "anonymous")
    await task
    assert session.resident == set()


async def test_a_row_leaves_at_its_deadline(
    make_worker: Any, running: Any, broker: MemoryBroker, model: ModelRef
) -> None:
    session = Endless()
    worker: Worker = make_worker(scaling=session)
    asked = job(model, scaling(1, 2), stream=True, deadline=broker.clock() + 3600.0)
    async with running(worker):
        await broker.submit(asked)
        await next_step_of(broker, asked.id)
        worker.clock = lambda: asked.deadline + 1.0
        events = [event async for event in broker.events(asked.id)]
    assert codes(events) == {0: "deadline_exceeded", 1: "deadline_exceeded"}
    assert session.resident == set()


async def test_a_job_for_a_session_that_does_not_exist_is_answered(
    make_worker: Any, running: Any, broker: MemoryBroker, model: ModelRef
) -> None:
    async with running(make_worker()):
        assert codes(await ask(broker, job(model, block_of(Unserved(), 1)))) == {0: "internal"}
        assert codes(await ask(broker, job(model, scaling(1)))) == {0: "done"}


async def test_an_item_that_can_never_fit_is_refused(
    make_worker: Any, running: Any, broker: MemoryBroker, model: ModelRef
) -> None:
    session = Endless()
    async with running(make_worker(scaling=session)):
        events = await ask(broker, job(model, scaling(1, session.capacity + 1)))
    assert codes(events) == {0: "invalid_input", 1: "invalid_input"}
    assert events[0].failure.message == (
        "an item takes 9 units of 8 that the device has for toy-affine@1: make it smaller"
    )


async def test_a_lost_lease_takes_its_rows_off_the_device(
    make_worker: Any, running: Any, broker: MemoryBroker, model: ModelRef
) -> None:
    session = Endless()
    worker: Worker = make_worker(scaling=session)
    asked = job(model, scaling(1))
    async with running(worker):
        await broker.submit(asked)
        await until(lambda: session.steps > 0)
        await broker.release([worker.scheduler.lease(asked.id)])  # as if it had run out: another worker may have it
        (elsewhere,) = await broker.take([str(model)], budget=1.0, wait=0.0)
        await until(lambda: not session.resident)
        assert await broker.emit([(elsewhere, [failed(asked.id, asked.block.rows, FAILURE)])]) == []


async def test_a_redelivered_job_runs_although_its_neighbours_cannot_be_handed_back(
    make_worker: Any, broker: MemoryBroker, model: ModelRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker: Worker = make_worker(scaling=Endless())
    worker.models.open(0.0)
    neighbour, returned = (job(model, scaling(1)) for _ in range(2))

    async def away(leases: Sequence[Lease]) -> None:
        raise QueueAway("gone for a moment")

    monkeypatch.setattr(broker, "release", away)
    await worker._accept(Lease(neighbour, 1, 1))
    with pytest.raises(QueueAway):
        await worker._accept(Lease(returned, 2, 2))
    assert [held.job.id for held in worker.scheduler.held()] == [returned.id]


# Life and death


async def test_a_stopped_worker_finishes_live_rows_and_hands_back_the_rest(
    make_worker: Any, broker: MemoryBroker, model: ModelRef
) -> None:
    worker: Worker = make_worker()
    live = job(model, counting(1000, toy.CountSession.capacity), stream=True)
    waiting = [job(model, counting(2000)) for _ in range(6)]
    task = asyncio.create_task(worker.run())
    await broker.submit(live)
    await next_step_of(broker, live.id)
    for each in waiting:
        await broker.submit(each)
    await until(lambda: len(worker.scheduler.held()) == 7)
    worker.stop()
    await task
    assert (await broker.status(live.id, "anonymous")).state == "done"
    assert {(await broker.status(each.id, "anonymous")).state for each in waiting} == {"queued"}
    assert (await broker.depth(str(model))).running_jobs == 0


async def test_rows_that_outlive_the_grace_are_handed_back(
    make_worker: Any, broker: MemoryBroker, model: ModelRef
) -> None:
    session = Endless()
    settings = Settings(intra_op_threads=1, heartbeat_seconds=0.02, shutdown_seconds=0.001)
    worker: Worker = make_worker(settings, scaling=session)
    asked = job(model, scaling(1), stream=True)
    task = asyncio.create_task(worker.run())
    await broker.submit(asked)
    await next_step_of(broker, asked.id)
    worker.stop()
    await task
    assert (await broker.status(asked.id, "anonymous")).state == "queued"
    assert session.resident == set()


async def beats_after(broker: MemoryBroker, moment: float) -> WorkerStatus:
    """The first heartbeat after this time."""
    while True:
        for status in await broker.workers():
            if status.beat_at > moment:
                return status
        await asyncio.sleep(0.001)


async def test_the_heart_beats_through_a_long_step(make_worker: Any, broker: MemoryBroker, model: ModelRef) -> None:
    stepping, go_on = threading.Event(), threading.Event()

    def block(rows: Sequence[Range]) -> None:
        stepping.set()
        go_on.wait()

    worker: Worker = make_worker(scaling=Endless(block))
    thread = threading.Thread(target=lambda: asyncio.run(worker.run()))
    thread.start()
    asked = job(model, scaling(1))
    await broker.submit(asked)
    stepping.wait()
    for _ in range(3):
        status = await beats_after(broker, broker.clock())
    assert [str(served.ref) for served in status.models] == [str(model)]
    await broker.cancel(asked.id, "anonymous")
    worker.stop()
    go_on.set()
    thread.join()


async def test_a_dead_loop_stops_the_heart(make_worker: Any, broker: MemoryBroker) -> None:
    before = set(threading.enumerate())
    task = asyncio.create_task(make_worker().run())
    await beats_after(broker, 0.0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert "heartbeat" not in {thread.name for thread in set(threading.enumerate()) - before}


async def test_a_hung_loop_stops_the_heart(
    make_worker: Any, broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker: Worker = make_worker()
    monkeypatch.setattr("service.worker.loop.HUNG_AFTER_SECONDS", -1.0)
    await worker.beat()
    assert await broker.workers() == []


async def test_the_heartbeat_says_what_it_serves_and_renews_leases(
    make_worker: Any, running: Any, broker: MemoryBroker, model: ModelRef
) -> None:
    async with running(make_worker()):
        await ask(broker, job(model, scaling(1, 2, 3)))
        status = await beats_after(broker, broker.clock())
    assert (status.device, status.rows_run) == ("cpu", 3)
    assert status.scope.startswith("onnxruntime ")
    (served,) = status.models
    assert served.ref == model
    assert set(served.costs) == {"scale", "halve"}
    assert all(curve.seconds(1) > 0.0 for curve in served.costs.values())


async def test_leases_are_renewed_while_rows_run(
    make_worker: Any, make_queue: Any, running: Any, toy_store: Store
) -> None:
    broker: MemoryBroker = make_queue(lease_seconds=5.0)
    now = broker.clock()
    worker: Worker = make_worker(scaling=Endless(), queue=broker)
    asked = job(toy_store.resolve("toy-affine").ref, scaling(1), stream=True)
    async with running(worker):
        await broker.submit(asked)
        await next_step_of(broker, asked.id)
        broker.clock = lambda: now + 4.0
        await beats_after(broker, now + 3.0)
        broker.clock = lambda: now + 8.0
        assert await broker.take([str(asked.model)], budget=1.0, wait=0.0) == []
        await broker.cancel(asked.id, "anonymous")


# Orders


async def test_models_are_loaded_and_unloaded_by_order(
    make_worker: Any, running: Any, broker: MemoryBroker, model: ModelRef, toy_store: Store
) -> None:
    session = Endless()
    worker: Worker = make_worker(scaling=session)
    asked = job(model, scaling(1), stream=True)
    async with running(worker):
        await broker.submit(asked)
        await next_step_of(broker, asked.id)
        await broker.send(ControlMessage("unload", model))
        steps = session.steps
        await until(lambda: session.steps >= steps + 3)
        assert not session.closed  # not before its last job has ended
        await broker.cancel(asked.id, "anonymous")
        await until(lambda: session.closed)
        assert (await beats_after(broker, broker.clock())).models == ()
        await broker.send(ControlMessage("load", model))
        while not (await beats_after(broker, broker.clock())).models:
            pass
        again = job(model, scaling(1), stream=True)
        await broker.submit(again)
        await next_step_of(broker, again.id)
        await broker.cancel(again.id, "anonymous")


async def test_a_drained_worker_ends(make_worker: Any, broker: MemoryBroker) -> None:
    task = asyncio.create_task(make_worker().run())
    await beats_after(broker, 0.0)
    await broker.send(ControlMessage("drain"))
    await task


async def test_metrics_count_rows_by_how_they_ended(
    make_worker: Any, running: Any, broker: MemoryBroker, model: ModelRef
) -> None:
    worker: Worker = make_worker()
    async with running(worker):
        await ask(broker, job(model, scaling(1, toy.POISON, toy.NOT_FINITE, 4)))
    sample = worker.metrics.worker_registry.get_sample_value
    ends = {end: sample("fivefold_rows_total", {"model": str(model), "end": end}) for end in ("done", "failed")}
    assert ends == {"done": 2.0, "failed": 2.0}
    assert sample("fivefold_steps_total", {"model": str(model), "session_kind": "ToyScaling"}) == 1.0
