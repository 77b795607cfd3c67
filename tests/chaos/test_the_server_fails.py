"""The queue's server is killed, emptied, full, read-only: what it accepted is done, what it refuses is said."""

import time

import pytest
from chaos.history import History
from chaos.knobs import LEASE_SECONDS, Start
from chaos.settled import passed, settled
from queue_server import Server
from waiting import eventually

from fivefold.errors import NotFound
from service.broker.base import QueueAway


async def test_two_kills_of_the_server_lose_nothing_that_it_accepted(
    start: Start, history: History, server: Server
) -> None:
    start("worker")
    for _ in range(2):
        await history.submit_all(history.scale(1, ms=10) for _ in range(30))
        await eventually(history.running)
        server.kill()
        server.start()
    await settled(history, server, jobs=60)


async def test_an_emptied_server_says_that_its_jobs_are_gone_and_takes_new_ones(
    start: Start, history: History, server: Server
) -> None:
    start("worker")
    ids = await history.submit_all(history.count(60) for _ in range(3))
    await eventually(history.running)
    with server.client as client:
        client.flushall()
    for job_id in ids:
        with pytest.raises(NotFound):
            await history.events(job_id)
    history.expected.clear()
    await history.submit_all(history.scale(1) for _ in range(10))
    await settled(history, server, jobs=10, worst_attempts=1)


async def test_forgotten_scripts_are_loaded_again(start: Start, history: History, server: Server) -> None:
    start("worker")
    with server.client as client:
        for _ in range(5):
            await history.submit_all(history.scale(1, ms=2) for _ in range(10))
            client.script_flush()
    await settled(history, server, jobs=50, worst_attempts=1)


async def test_a_full_server_refuses_new_jobs_drains_and_recovers(
    start: Start, history: History, server: Server
) -> None:
    start("worker")
    start("worker")
    long = await history.submit(history.scale(1, ms=2000 * LEASE_SECONDS))
    await history.submit_all(history.scale(1, 2) for _ in range(10))
    await eventually(history.running)
    with server.client as client:
        client.config_set("maxmemory", 1)
        with pytest.raises(QueueAway, match="no memory left"):
            await history.broker.submit(history.scale(1))
        assert [event.kind for event in await history.events(long)] == ["done"]
        await eventually(history.idle)
        client.config_set("maxmemory", 0)
    await history.submit(history.scale(1))
    await settled(history, server, jobs=12, worst_attempts=1)


async def test_a_server_that_became_a_replica_is_named_as_such_and_all_goes_on_when_it_is_primary_again(
    start: Start, history: History, server: Server
) -> None:
    start("worker")
    await history.submit_all(history.count(40) for _ in range(3))
    await eventually(history.running)
    with server.client as client:
        client.replicaof("127.0.0.1", 1)
        with pytest.raises(QueueAway, match="read-only replica"):
            await history.broker.submit(history.scale(1))
        began = time.monotonic()
        await eventually(lambda: passed(0.3, since=began))
        client.replicaof("NO", "ONE")
    await settled(history, server, jobs=3)


async def test_a_server_with_too_few_replicas_is_away_and_all_goes_on_when_they_are_back(
    start: Start, history: History, server: Server
) -> None:
    worker = start("worker")
    await history.submit_all(history.count(40) for _ in range(3))
    await eventually(history.running)
    with server.client as client:
        client.config_set("min-replicas-to-write", 1)
        with pytest.raises(QueueAway, match="NOREPLICAS"):
            await history.broker.submit(history.scale(1))
        began = time.monotonic()
        await eventually(lambda: passed(0.3, since=began))
        client.config_set("min-replicas-to-write", 0)
    assert worker.alive
    await settled(history, server, jobs=3)


@pytest.mark.parametrize("fault", ["clock_an_hour_ahead", "clock_an_hour_behind"])
async def test_a_worker_whose_clock_is_an_hour_off_keeps_deadlines_all_the_same(
    start: Start, history: History, server: Server, fault: str
) -> None:
    start("worker", fault)
    now = time.time()
    await history.submit_all(history.scale(1, deadline=now + 20.0) for _ in range(5))
    await settled(history, server, jobs=5, worst_attempts=1)
    late = await history.submit(history.count(100, deadline=time.time() + 0.2))
    assert [event.failure.code for event in await history.events(late) if event.failure] == ["deadline_exceeded"]
