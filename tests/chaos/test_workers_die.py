"""Workers that are killed, stopped, told to leave, or late: every job ends once, with the same bytes."""

import asyncio
import signal
import time
from contextlib import AsyncExitStack

import pytest
from chaos.history import History
from chaos.knobs import LEASE_SECONDS, Knobs, Start, broker_of
from chaos.settled import passed, settled
from queue_server import Server
from waiting import eventually


async def test_a_worker_killed_in_the_middle_of_a_batch_loses_no_job(
    start: Start, history: History, server: Server
) -> None:
    worker = start("worker")
    await history.submit_all(history.scale(1, 2, ms=30) for _ in range(10))
    await eventually(history.running)
    worker.kill()
    start("worker")
    await settled(history, server, jobs=10, worst_attempts=2)


async def test_a_worker_killed_before_its_result_is_sent_is_repeated(
    start: Start, history: History, server: Server
) -> None:
    await history.submit(history.scale(1, 2))
    assert start("worker", "die_before_the_result_is_sent", wait=False).exit_code() == -signal.SIGKILL
    start("worker")
    await settled(history, server, jobs=1, worst_attempts=2)


async def test_a_worker_killed_before_its_result_is_acknowledged_is_not_repeated(
    start: Start, history: History, server: Server
) -> None:
    await history.submit(history.scale(1, 2))
    assert start("worker", "die_before_the_result_is_acknowledged", wait=False).exit_code() == -signal.SIGKILL
    start("worker")
    await settled(history, server, jobs=1, worst_attempts=1)


async def test_a_worker_that_returns_after_three_leases_changes_nothing_and_goes_on(
    start: Start, history: History, server: Server
) -> None:
    zombie, stopped_at = start("worker"), time.monotonic()
    job_id = await history.submit(history.count(60))
    await eventually(history.running)
    zombie.signal(signal.SIGSTOP)
    other = start("worker")
    await history.events(job_id)
    other.signal(signal.SIGTERM)
    assert await asyncio.to_thread(other.exit_code) == 0
    await eventually(lambda: passed(3 * LEASE_SECONDS, since=stopped_at))
    zombie.signal(signal.SIGCONT)
    await history.submit(history.scale(3))
    await settled(history, server, jobs=2, worst_attempts=2)


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_worker_told_to_leave_hands_its_batch_back_and_another_gives_the_same_bytes(
    start: Start, history: History, server: Server, streaming: bool
) -> None:
    leaving = start("worker", shutdown_seconds=0.1)
    await history.submit_all(history.count(60, 3, stream=streaming) for _ in range(4))
    await eventually(history.running)
    leaving.signal(signal.SIGTERM)
    assert await asyncio.to_thread(leaving.exit_code) == 0
    assert await history.running() == 0
    assert not await history.idle()
    start("worker")
    await settled(history, server, jobs=4, worst_attempts=1)


async def test_a_worker_that_starts_before_its_queue_waits_for_it(
    start: Start, history: History, server: Server
) -> None:
    server.kill()
    worker = start("worker", wait=False)
    began = time.monotonic()
    await eventually(lambda: passed(1.5, since=began))
    assert (worker.status("/healthz/live"), worker.status("/healthz/ready")) == (200, 503)
    server.start()
    await asyncio.to_thread(worker.wait_until_ready)
    await history.submit(history.scale(1))
    await settled(history, server, jobs=1, worst_attempts=1)


async def test_of_many_workers_one_gets_an_expired_lease(start: Start, history: History, knobs: Knobs) -> None:
    dead = start("worker")
    await history.submit(history.scale(1, ms=10_000))
    await eventually(history.running)
    dead.kill()
    async with AsyncExitStack() as stack:
        claimants = [broker_of(knobs) for _ in range(8)]
        for claimant in claimants:
            stack.push_async_callback(claimant.close)
        taken = []

        async def claimed() -> bool:
            takes = [claimant.take([str(history.model)], budget=1.0, wait=0.0) for claimant in claimants]
            taken.extend(lease for leases in await asyncio.gather(*takes) for lease in leases)
            return bool(taken)

        await eventually(claimed)
        assert [lease.attempt for lease in taken] == [2]


async def test_a_loop_blocked_for_longer_than_the_lease_keeps_its_job(
    start: Start, history: History, server: Server
) -> None:
    start("worker")
    start("worker")
    await history.submit(history.scale(1, ms=2000 * LEASE_SECONDS))
    await settled(history, server, jobs=1, worst_attempts=1)
