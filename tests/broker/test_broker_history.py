"""Whatever happens, in whatever order and from whichever thread: every accepted job ends exactly once."""

import asyncio
import gc
import threading
import tracemalloc
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from queue_server import Server
from queued import (
    KINDS,
    Clock,
    M,
    MakeBroker,
    cancel,
    done,
    emit,
    events_of,
    finish,
    ident,
    job,
    limits_of,
    memory_broker,
    name_of,
    read,
    replay,
    step,
    take,
)

from fivefold.errors import QueueFull
from service.arrays import size_bytes
from service.broker.aliases import AliasFile
from service.broker.base import Broker, Limits
from service.broker.memory import MemoryBroker
from service.broker.redis import RedisBroker
from service.jobs import Lease, Parameters, block_of

AnswerT = TypeVar("AnswerT")
TENANTS = ("A", "B")


class History(RuleBasedStateMachine):
    """Clients, workers that die or return as zombies, cancels, deadlines, replays: in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = Clock()
        self.broker = self.make_broker(
            limits_of(lease_seconds=10.0, max_attempts=2, max_queue_seconds=8.0, result_ttl_seconds=1e9)
        )
        self.accepted: dict[str, int] = {}
        self.leases: list[Lease] = []

    def make_broker(self, limits: Limits) -> Broker:
        return MemoryBroker(limits, AliasFile(Path("/nowhere/aliases.json")), self.clock)

    def run(self, call: Awaitable[AnswerT]) -> AnswerT:
        async def awaited() -> AnswerT:
            return await call

        return self.runner.run(awaited())

    @rule(
        rows=st.integers(1, 3),
        tenant=st.sampled_from(TENANTS),
        priority=st.sampled_from(("interactive", "normal", "bulk")),
        patience=st.none() | st.integers(1, 30),
    )
    def submit(self, rows: int, tenant: str, priority: str, patience: int | None) -> None:
        name = f"j{len(self.accepted)}"
        deadline = None if patience is None else self.clock.now + patience
        try:
            self.run(self.broker.submit(job(name, rows, tenant=tenant, priority=priority, deadline=deadline)))
            self.accepted[name] = rows
        except QueueFull:
            assert self.run(self.broker.depth(M)).waiting_jobs > 0

    @rule(budget=st.floats(0.0, 4.0))
    def take(self, budget: float) -> None:
        self.leases += self.run(take(self.broker, budget))

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def emit_some(self, data: st.DataObject) -> None:
        lease = data.draw(st.sampled_from(self.leases))
        rows = data.draw(st.lists(st.sampled_from(lease.job.block.rows.tolist())))
        self.run(
            emit(
                self.broker,
                lease,
                [event for row in rows for event in (step(lease.job.id, row), done(lease.job.id, row, 1))],
            )
        )

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        self.run(finish(self.broker, data.draw(st.sampled_from(self.leases))))

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def release_or_extend(self, data: st.DataObject) -> None:
        lease = data.draw(st.sampled_from(self.leases))
        call = data.draw(st.sampled_from((self.broker.release, self.broker.extend)))
        self.run(call([lease]))

    @precondition(lambda self: self.accepted)
    @rule(data=st.data(), tenant=st.sampled_from(TENANTS))
    def cancel(self, data: st.DataObject, tenant: str) -> None:
        name = data.draw(st.sampled_from(sorted(self.accepted)))
        if name in [name_of(status.id) for status in self.run(self.broker.jobs(tenant))[0]]:
            self.run(cancel(self.broker, name, tenant))

    @rule(seconds=st.sampled_from((1.0, 11.0)))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule()
    def replay(self) -> None:
        for dead in self.run(self.broker.dead())[:1]:
            self.run(replay(self.broker, name_of(dead.id)))

    @invariant()
    def depth_is_what_lives(self) -> None:
        states = Counter(status.state for tenant in TENANTS for status in self.run(self.broker.jobs(tenant))[0])
        depth = self.run(self.broker.depth(M))
        assert (depth.waiting_jobs, depth.running_jobs) == (states["queued"], states["running"])
        assert abs(depth.predicted_seconds - (states["queued"] + states["running"])) < 1e-6
        assert sum(states.values()) == len(self.accepted)

    def teardown(self) -> None:
        while (depth := self.run(self.broker.depth(M))).waiting_jobs + depth.running_jobs:
            for lease in self.run(take(self.broker, 100.0)):
                assert self.run(finish(self.broker, lease))
            self.clock.advance(11.0)
        for name, rows in self.accepted.items():
            events = self.run(read(self.broker, name))
            assert sorted(event.row for event in events if event.terminal) == list(range(rows))
            assert len({event.id for event in events}) == len(events)
        self.run(self.broker.close())
        self.runner.close()


TestHistory = History.TestCase
TestHistory.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_the_queue_between_machines_has_the_same_history(server: Server) -> None:
    class RedisHistory(History):
        def make_broker(self, limits: Limits) -> Broker:
            with server.client as client:
                client.flushall()
            return RedisBroker(server.url, limits, KINDS, self.clock)

    run_state_machine_as_test(RedisHistory, settings=settings(TestHistory.settings, max_examples=30))


def in_thread(broker: Broker, work: Callable[[], Awaitable[None]]) -> threading.Thread:
    """`work` on an event loop of its own, in a thread of its own."""

    async def main() -> None:
        await work()
        await broker.close()

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    return thread


async def test_two_workers_in_their_threads_serve_clients_of_a_third(make_broker: MakeBroker) -> None:
    broker, ran = make_broker(max_queue_seconds=1e6), Counter[str]()
    stop = threading.Event()

    async def work() -> None:
        while not stop.is_set():
            for lease in await broker.take([M], budget=5.0, wait=0.05):
                ran[name_of(lease.job.id)] += 1
                assert await finish(broker, lease)

    async def ask(index: int) -> int:
        await broker.submit(job(f"j{index}", rows=2))
        return sum([len(one) async for one in broker.events(ident(f"j{index}")) if one.kind == "done"])

    workers = [in_thread(broker, work), in_thread(broker, work)]
    answers = [
        rows for start in range(0, 400, 40) for rows in await asyncio.gather(*map(ask, range(start, start + 40)))
    ]
    stop.set()
    for worker in workers:
        await asyncio.to_thread(worker.join)
    assert answers == [2] * 400
    assert set(ran.values()) == {1}
    assert len(ran) == 400


async def test_a_hundred_clients_in_threads_share_one_key(make_broker: MakeBroker) -> None:
    broker, ids = make_broker(), []

    def client(start: int) -> Callable[[], Awaitable[None]]:
        async def submit() -> None:
            for index in range(start, start + 25):
                ids.append(name_of((await broker.submit(job(f"j{index}", idempotency_key="k"))).job_id))

        return submit

    for thread in [in_thread(broker, client(start)) for start in (0, 25, 50, 75)]:
        await asyncio.to_thread(thread.join)
    assert len(ids) == 100
    assert len(set(ids)) == 1
    assert (await broker.depth(M)).waiting_jobs == 1


async def test_a_client_whose_loop_is_gone_harms_nobody(make_broker: MakeBroker) -> None:
    broker = make_broker()
    await broker.submit(job("a", stream=True))
    (lease,) = await take(broker)

    async def leave() -> None:
        events = broker.events(ident("a"))
        waiting = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        assert not waiting.done()

    await asyncio.to_thread(in_thread(broker, leave).join)
    assert await emit(broker, lease, [step("a")])
    assert await finish(broker, lease)
    assert len(await read(broker, "a")) == 2


async def test_memory_stays_flat_whatever_came_before(make_broker: MakeBroker) -> None:
    broker = make_broker(max_kept_jobs=50)

    async def live_through(start: int) -> None:
        """A thousand jobs: other tenants, keys and far deadlines; a third is cancelled, one has steps, one waits."""
        for index in range(start, start + 1000):
            name = f"j{index}"
            fields = {"tenant": name, "idempotency_key": name, "deadline": 4e9, "stream": True}
            await broker.submit(job(name, seconds=0.001, **fields))
            if index % 3:
                (lease,) = await take(broker)
                await emit(broker, lease, [step(name)])
                assert await finish(broker, lease)
            else:
                await cancel(broker, name, name)

    await live_through(0)
    tracemalloc.start()
    await live_through(1000)
    before, _ = tracemalloc.get_traced_memory()
    await live_through(2000)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 50_000


async def test_a_kept_job_weighs_little_more_than_what_was_asked_and_answered(clock: Clock, tmp_path: Path) -> None:
    broker, jobs, rows = memory_broker(clock, tmp_path, max_kept_jobs=50), 50, 256

    async def answered(name: str) -> int:
        """The bytes of the arrays of a job of the size of flow's scores, and of its answer."""
        asked = replace(block_of(Parameters(), rows), columns={"x": np.zeros((rows, 9), np.float32)})
        scores = {score: np.zeros(rows, np.float32) for score in ("log_prob", "base_log_prob", "round_trip_error")}
        answer = {**scores, "log_dets": np.zeros((rows, 8), np.float32)}
        await broker.submit(replace(job(name), block=asked))
        (lease,) = await take(broker)
        events = events_of(name, "done", asked.rows.tolist(), **answer)
        events.compute_ms, events.progress = np.zeros(rows), np.ones(rows)
        assert await emit(broker, lease, [events])
        return size_bytes(asked.columns) + size_bytes(answer)

    await answered("warm")
    tracemalloc.start()
    array_bytes = sum([await answered(f"j{index}") for index in range(jobs)])
    gc.collect()
    kept_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept_bytes <= 1.5 * array_bytes
