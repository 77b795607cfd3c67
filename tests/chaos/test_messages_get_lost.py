"""A bell that nobody hears and a reply that is not delivered cost a moment, not the job."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

from chaos.history import History
from chaos.knobs import Start
from chaos.settled import settled
from queue_server import Server
from redis import Redis
from waiting import until

from service.broker.redis.keys import bell, prefix
from service.jobs import FORMATS

LATE_SECONDS = 0.3  # of a busy machine


async def test_a_job_whose_bell_was_lost_is_found_within_a_second(
    start: Start, history: History, server: Server
) -> None:
    with server.client as thief, server.client as client, ThreadPoolExecutor(1) as pool:
        stolen = pool.submit(thief.blpop, bell(prefix(str(history.model)), FORMATS[0]), 5)
        until(lambda: _blocked(client) == 1)
        start("worker", heartbeat_seconds=0.5, lease_seconds=2.0)
        until(lambda: _blocked(client) == 3)  # the worker waits for the bell and for orders
        began = time.monotonic()
        job_id = await history.submit(history.scale(1))
        await history.events(job_id)
        assert time.monotonic() - began < 1.0 + LATE_SECONDS
        assert stolen.result() is not None
    await settled(history, server, jobs=1, worst_attempts=1)


def _blocked(client: Redis) -> int:
    return int(client.info("clients")["blocked_clients"])


async def test_an_answer_whose_message_was_lost_is_found_within_half_a_second(
    start: Start, history: History, server: Server
) -> None:
    start("worker")
    deaf = asyncio.Event()

    async def deafen() -> None:
        with server.client as client:
            while not deaf.is_set():
                client.client_kill_filter(_type="pubsub")
                await asyncio.sleep(0.005)

    async with asyncio.TaskGroup() as group:
        group.create_task(deafen())
        for _ in range(3):
            job_id = await history.submit(history.scale(1, ms=50))
            await history.events(job_id)
            status = await history.broker.status(job_id, "anonymous")
            assert time.time() - status.ended_at < 0.5 + LATE_SECONDS
        deaf.set()
    await settled(history, server, jobs=3, worst_attempts=1)
