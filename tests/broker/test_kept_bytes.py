"""What a queue holds is counted in real bytes, and bounded whatever it is made of."""

import asyncio
import gc
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from queue_server import Server
from queued import (
    Clock,
    M,
    MakeBroker,
    cancel,
    emit,
    events_of,
    finish,
    ident,
    job,
    memory_broker,
    name_of,
    read,
    replay,
    take,
    take_one,
)
from redis import Redis

from fivefold.errors import InvalidInput, QueueFull
from service.broker.base import Broker
from service.broker.redis.keys import prefix
from service.jobs import Events, Lease, Parameters, block_of

AMPLE = {"max_queue_seconds": 1e9, "max_queue_bytes": 2**40, "max_kept_bytes": 2**40, "max_stream_bytes": 2**40}


@dataclass(frozen=True)
class Shape:
    """Jobs of one kind: what is asked, and what is published of each."""

    rows: int = 1
    width: int = 1
    columns: int = 1
    steps: int = 0
    ends: bool = True
    request_bytes: int = 2
    key_bytes: int = 0


SHAPES = {
    "a small row": Shape(),
    "a row of many columns": Shape(columns=8),
    "a large row": Shape(width=20_000),
    "small rows": Shape(rows=256),
    "large rows": Shape(rows=64, width=500),
    "jobs that wait": Shape(rows=16, width=100, ends=False),
    "a request": Shape(request_bytes=100_000),
    "a key": Shape(key_bytes=255),
    "steps of a row": Shape(steps=30),
    "steps of a row that runs": Shape(steps=30, ends=False),
    "steps of rows that run": Shape(rows=256, steps=5, ends=False),
    "large steps": Shape(rows=4, width=2_000, steps=10),
}


def columns_of(shape: Shape) -> dict[str, np.ndarray]:
    return {f"c{number}": np.zeros((shape.rows, shape.width), np.float32) for number in range(shape.columns)}


def events(name: str, kind: str, shape: Shape, step: int) -> Events:
    given = events_of(name, kind, list(range(shape.rows)), step, **columns_of(shape))
    given.compute_ms, given.progress = np.zeros(shape.rows), np.full(shape.rows, 0.5)
    return given


async def live_through(broker: Broker, name: str, shape: Shape) -> None:
    """One job, as far as its shape says. Raises what submitting raises."""
    block = replace(block_of(Parameters(), shape.rows), columns=columns_of(shape))
    key = name.rjust(shape.key_bytes, "k") if shape.key_bytes else None
    await broker.submit(
        replace(job(name), block=block, request=bytes(bytearray(shape.request_bytes)), idempotency_key=key)
    )
    if shape.ends or shape.steps:
        for lease in await take(broker):
            own = replace(shape, rows=len(lease.job.block))  # it may be an older job
            for step in range(shape.steps):
                await emit(broker, lease, [events(lease.job.id, "step", own, step)])
            if shape.ends:
                await emit(broker, lease, [events(lease.job.id, "done", own, shape.steps)])


class MemoryScale:
    """What the queue in memory counts, and what the process holds, in bytes."""

    def __init__(self, make: MakeBroker) -> None:
        self._make = make

    def make(self, **limits: float) -> Broker:
        self._broker: Any = self._make(**limits)
        return self._broker

    def counted(self) -> tuple[float, float]:
        """Of the jobs that live, and of those that have ended."""
        ledger = self._broker._ledger
        return ledger._living_bytes, ledger._kept_bytes

    def measured(self) -> float:
        gc.collect()
        return tracemalloc.get_traced_memory()[0]


class ServerScale:
    """What the queue between machines counts, and what its server holds, in bytes."""

    def __init__(self, make: MakeBroker, client: Redis) -> None:
        self.make, self._client = make, client

    def counted(self) -> tuple[float, float]:
        """Of the jobs that live, and of those that have ended."""
        living, kept = self._client.hmget(f"{prefix(M)}queue", "living_bytes", "kept_bytes")
        return float(living or 0), float(kept or 0)

    def measured(self) -> float:
        with self._client.pipeline() as asked:
            for key in self._client.scan_iter(count=1000):
                asked.memory_usage(key, samples=0)
            return float(sum(asked.execute()))


Scale = MemoryScale | ServerScale


@pytest.fixture(params=["memory", "redis"])
def scale(request: pytest.FixtureRequest, clock: Clock, tmp_path: Path) -> Iterator[Scale]:
    if request.param == "memory":
        tracemalloc.start()
        yield MemoryScale(partial(memory_broker, clock, tmp_path))
        tracemalloc.stop()
    else:
        make = request.getfixturevalue("make_redis_broker")
        with request.getfixturevalue("server").client as client:
            yield ServerScale(make, client)


@pytest.mark.parametrize("kind", SHAPES)
async def test_what_is_counted_is_what_is_held(scale: Scale, kind: str) -> None:
    broker = scale.make(**AMPLE)
    for index in range(10):
        await live_through(broker, f"warm{index}", SHAPES[kind])
    counted, measured = sum(scale.counted()), scale.measured()
    for index in range(60):
        await live_through(broker, f"j{index}", SHAPES[kind])
    counted, measured = sum(scale.counted()) - counted, scale.measured() - measured
    assert 0.5 * measured <= counted <= 2.0 * measured


BOUNDS = {"max_queue_bytes": 120_000, "max_kept_bytes": 60_000, "max_stream_bytes": 30_000}
LARGEST_JOB, PLACES = 150_000, 10_000  # what one ended job may hold, and the places of steps that are gone
shapes = st.builds(
    Shape,
    rows=st.integers(1, 20),
    width=st.sampled_from([1, 50, 400]),
    steps=st.integers(0, 6),
    ends=st.booleans(),
    request_bytes=st.sampled_from([0, 2, 30_000, 200_000]),
    key_bytes=st.sampled_from([0, 40]),
)


async def keep_within_bounds(scale: Scale, clock: Clock, mix: Sequence[tuple[Shape, bool]]) -> None:
    """Jobs of any shapes, some of them cancelled. At their end nothing is left of what lived."""
    broker = scale.make(max_queue_seconds=1e9, **BOUNDS)
    for index, (shape, cancelled) in enumerate(mix):
        with suppress(QueueFull, InvalidInput):
            await live_through(broker, f"j{index}", shape)
            if cancelled:
                await cancel(broker, f"j{index}")
        await broker.depth(M)  # forgets what is too much
        living, kept = scale.counted()
        assert 0 <= living <= BOUNDS["max_queue_bytes"] + PLACES
        assert 0 <= kept <= max(BOUNDS["max_kept_bytes"], LARGEST_JOB)
    while (depth := await broker.depth(M)).waiting_jobs + depth.running_jobs:
        clock.advance(1000.0)
        for lease in await take(broker, budget=1e9):
            assert await finish(broker, lease)
    assert scale.counted()[0] == 0
    await broker.close()


async def test_the_bounds_hold_whatever_the_mix(scale: Scale, clock: Clock) -> None:
    @settings(max_examples=5, derandomize=True, deadline=None)
    @given(st.lists(st.tuples(shapes, st.booleans()), max_size=12))
    def each_mix(mix: list[tuple[Shape, bool]]) -> None:
        asyncio.run(keep_within_bounds(scale, clock, mix))

    await asyncio.to_thread(each_mix)


async def test_a_job_is_refused_for_good_where_it_never_fits_and_for_now_where_others_are(
    make_broker: MakeBroker,
) -> None:
    broker = make_broker(max_queue_bytes=100_000)
    with pytest.raises(InvalidInput, match=r"takes \d+ bytes of the queue, which holds 100000: send fewer items"):
        await broker.submit(job("a", request=bytes(100_000)))
    await broker.submit(job("b", request=bytes(60_000)))
    with pytest.raises(QueueFull, match=r"holds \d+ of 100000 bytes .* needs \d+: retry after 1 s"):
        await broker.submit(job("c", request=bytes(60_000)))
    await finish(broker, await take_one(broker))
    assert not (await broker.submit(job("c", request=bytes(60_000)))).existing


async def test_a_key_brings_no_request_past_the_bound(make_broker: MakeBroker) -> None:
    broker = make_broker(max_queue_bytes=100_000)
    await broker.submit(job("a", request=b"", detached=False, idempotency_key="k"))
    with pytest.raises(QueueFull):
        await broker.submit(job("b", request=bytes(100_000), idempotency_key="k"))
    assert (await broker.submit(job("b", request=bytes(10_000), idempotency_key="k"))).existing
    assert len(await broker.request(ident("a"), "anonymous")) == 10_000


STREAM = Shape(rows=4, width=1_000)


async def stream(broker: Broker, steps: int) -> Lease:
    """A job that has published so many steps of 16 kB."""
    await broker.submit(job("a", rows=STREAM.rows, stream=True))
    lease = await take_one(broker)
    for step in range(steps):
        assert await emit(broker, lease, [events(lease.job.id, "step", STREAM, step)])
    return lease


async def test_a_job_with_too_many_steps_keeps_the_newest_and_every_end(make_broker: MakeBroker) -> None:
    broker = make_broker(max_stream_bytes=60_000)
    lease = await stream(broker, 2)
    early = events_of("a", "done", [3], 2, x=np.zeros((1, 1_000), np.float32))
    assert await emit(broker, lease, [early])
    for step in range(2, 20):
        assert await emit(broker, lease, [events(lease.job.id, "step", STREAM, step)])
    assert await emit(broker, lease, [events_of("a", "done", [0, 1, 2], 20)])
    found = await read(broker, "a")
    assert [one.id for one in found if one.terminal] == ["3.2", "0.20", "1.20", "2.20"]
    first_row = [one.index for one in found if one.row == 0]
    assert first_row == list(range(first_row[0], 21))
    assert 15 <= first_row[0] <= 17


async def test_a_reader_beside_the_worker_sees_every_step(make_broker: MakeBroker) -> None:
    broker = make_broker(max_stream_bytes=60_000)
    lease = await stream(broker, 0)
    following = broker.events(ident("a"))
    for step in range(20):
        assert await emit(broker, lease, [events(lease.job.id, "step", STREAM, step)])
        assert (await anext(following)).steps[0] == step
    await finish(broker, lease)
    assert [one.kind async for one in following] == ["done"]


async def test_steps_leave_what_others_hold_and_the_queue_takes_jobs_again(make_broker: MakeBroker) -> None:
    broker = make_broker(max_queue_bytes=100_000)
    lease = await stream(broker, 50)
    assert await finish(broker, lease)
    ends = [one for one in await read(broker, "a") if one.terminal]
    assert len(ends) == STREAM.rows
    assert not (await broker.submit(job("b", request=bytes(90_000)))).existing


async def test_dead_letters_are_bounded_in_bytes(make_broker: MakeBroker, clock: Clock) -> None:
    broker = make_broker(max_attempts=1, max_kept_bytes=100_000)
    for index in range(5):
        await broker.submit(job(f"j{index}", request=bytes(40_000)))
        await take_one(broker)
        clock.advance(1000.0)
        assert not await take(broker)
    assert [name_of(dead.id) for dead in await broker.dead()] == ["j3", "j4"]
    await replay(broker, "j4")
    assert await finish(broker, await take_one(broker))


async def test_a_job_that_streams_does_not_fill_the_server_for_others(
    make_redis_broker: MakeBroker, server: Server
) -> None:
    broker = make_redis_broker(max_stream_bytes=2**20)
    with server.client as client:
        client.config_set("maxmemory", client.info("memory")["used_memory"] + 8 * 2**20)
        try:
            lease = await stream(broker, 1000)
            assert not (await broker.submit(job("b"))).existing
            assert await finish(broker, lease)
        finally:
            client.config_set("maxmemory", 0)
