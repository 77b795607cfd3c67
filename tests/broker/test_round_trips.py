"""What the queue between machines costs in round trips: counted by a proxy, no clock is read."""

import asyncio

import pytest
import queue_server
from waiting import eventually

from benchmarks.proxy import counting
from benchmarks.trips import JOBS, Counter, trips


@pytest.fixture
async def counter(server: queue_server.Server):
    async with counting(server.port) as producing, counting(server.port) as consuming:
        made = Counter(producing, consuming)
        await made.warm()
        yield made
        await made.close()


async def test_requests_of_one_tick_are_submitted_in_one_round_trip_and_their_answers_cost_none(counter) -> None:
    job_ids: list[str] = []

    async def submit() -> None:
        job_ids.extend(await counter.submit())

    assert (await trips(counter.producing, submit))[0] == 1
    await counter.work(await counter.take())
    assert (await trips(counter.producing, lambda: counter.read(job_ids)))[0] == 0


async def test_a_workers_batch_costs_one_round_trip(counter) -> None:
    for _ in range(4):
        await counter.submit()
    held, batches = await counter.take(), []

    async def work() -> None:
        batches.append(await counter.work(held))

    assert (await trips(counter.consuming, work))[0] == sum(batches) == 4
    assert len(held) * 4 == JOBS * 4


async def test_an_idle_worker_waits_in_one_round_trip(counter) -> None:
    taking = asyncio.ensure_future(trips(counter.consuming, lambda: counter.take(60.0)))
    await counter.submit(1)
    assert (await taking)[0] == 1


async def test_between_two_steps_a_worker_asks_only_when_something_has_come(counter) -> None:
    cancels = await counter.consumer.cancelled()
    listening = asyncio.ensure_future(anext(cancels))
    await eventually(lambda: _silent(counter))

    async def steps() -> None:
        for _ in range(20):
            assert await counter.take() == []

    assert (await trips(counter.consuming, steps))[0] <= 1  # now and then it asks all the same
    await counter.submit(1)
    await eventually(counter.take)
    listening.cancel()
    await asyncio.wait([listening])


async def _silent(counter) -> bool:
    """True where a taking costs nothing: it listens, and there was nothing the last time."""
    return (await trips(counter.consuming, counter.take))[0] == 0
