"""Between a worker, or a client, and the queue: delay, cut, half-open, reset in a reply, drip. Nothing is lost."""

import asyncio
import time
from contextlib import suppress

import pytest
from chaos.history import History
from chaos.knobs import LEASE_SECONDS, Knobs, Start, broker_of
from chaos.proxy import MODES, Mode, Proxy
from chaos.settled import passed, settled
from queue_server import Server
from waiting import eventually

from service.broker.base import Broker, QueueAway
from service.jobs import Job

CLIENT_SECONDS = 1.5  # within which a client hears that the queue is away


@pytest.mark.parametrize("mode", MODES)
async def test_a_worker_behind_a_bad_network_loses_no_job(
    start: Start, history: History, server: Server, proxy: Proxy, mode: Mode
) -> None:
    start("worker", redis_url=proxy.url)
    await history.submit_all(history.scale(1, ms=10) for _ in range(30))
    await eventually(history.running)
    proxy.set(mode)
    began = time.monotonic()
    await eventually(lambda: passed(1.5 * LEASE_SECONDS, since=began))
    proxy.set("pass")
    await settled(history, server, jobs=30)


@pytest.mark.parametrize("mode", MODES)
async def test_a_client_behind_a_bad_network_is_answered_in_time_and_recovers(
    start: Start, history: History, server: Server, proxy: Proxy, knobs: Knobs, mode: Mode
) -> None:
    broker = broker_of({**knobs, "redis_url": proxy.url})
    try:
        await broker.depth(str(history.model))
        proxy.set(mode)
        large = [history.scale(1, request=bytes(2**20)) for _ in range(5)]
        took = await asyncio.gather(*(_ask(broker, job, place / 5) for place, job in enumerate(large)))
        assert max(took) < CLIENT_SECONDS
        proxy.set("pass")
        history.broker = broker
        start("worker")
        await history.submit_all(history.scale(1) for _ in range(3))
        await eventually(history.idle)
        await settled(history, server, jobs=3, worst_attempts=1)
    finally:
        await broker.close()


async def _ask(broker: Broker, job: Job, later_seconds: float) -> float:
    """The seconds until it is answered, or the queue said to be away."""
    await asyncio.sleep(later_seconds)
    began = time.monotonic()
    with suppress(QueueAway):
        await broker.submit(job)
    return time.monotonic() - began
