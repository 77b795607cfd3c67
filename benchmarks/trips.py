"""Round trips and bytes between the service and the queue's server, by a proxy that counts them."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from benchmarks.clients import BARE, KINDS, LIMITS, done, echo_job
from benchmarks.options import Options
from benchmarks.proxy import Proxy, counting
from service.broker.redis import RedisBroker
from service.jobs import Lease
from tests import queue_server

JOBS, TURNS, IDLE_SECONDS = 32, 50, 3.0
STEPS, STEP_SECONDS = 300, 0.01


class Counter:
    """A producer and a consumer, each behind a proxy of its own."""

    def __init__(self, producing: Proxy, consuming: Proxy) -> None:
        self.producing, self.consuming = producing, consuming
        self.producer, self.consumer = (RedisBroker(proxy.url, LIMITS, KINDS) for proxy in (producing, consuming))

    async def submit(self, jobs: int = JOBS) -> list[str]:
        accepted = await asyncio.gather(*(self.producer.submit(echo_job(BARE)) for _ in range(jobs)))
        return [one.job_id for one in accepted]

    async def take(self, wait: float = 0.0) -> list[Lease]:
        return list(await self.consumer.take([str(BARE)], budget=JOBS * 1e-6, wait=wait))

    async def read(self, job_ids: list[str]) -> None:
        async def one(job_id: str) -> None:
            assert [event.kind async for event in self.producer.events(job_id)] == ["done"]

        await asyncio.gather(*map(one, job_ids))

    async def batch(self, held: list[Lease]) -> list[Lease]:
        """What a worker says between two batches."""
        ended = [(lease, [done(lease.job)]) for lease in held]
        _, taken = await asyncio.gather(self.consumer.emit(ended), self.take())
        return taken

    async def warm(self) -> None:
        """Connections, scripts and the subscription are there."""
        for _ in range(2):
            job_ids = await self.submit()
            await self.work(await self.take())
            await self.read(job_ids)

    async def work(self, held: list[Lease]) -> int:
        """Batch after batch, until nothing is left; gives their number."""
        batches = 0
        while held:
            held, batches = await self.batch(held), batches + 1
        return batches

    async def close(self) -> None:
        await self.producer.close()
        await self.consumer.close()


async def trips(proxy: Proxy, action: Callable[[], Awaitable[object]]) -> tuple[float, float]:
    """Round trips and kilobytes of an action."""
    before = proxy.trips, proxy.bytes_both_ways
    await action()
    return proxy.trips - before[0], (proxy.bytes_both_ways - before[1]) / 1e3


async def measure(port: int) -> list[tuple[str, float, float]]:
    """By event: round trips and kilobytes."""
    async with counting(port) as producing, counting(port) as consuming:
        counter = Counter(producing, consuming)
        await counter.warm()
        rows = [*await _of_a_request(counter), *await _of_steps(counter), *await _of_waiting(counter)]
        await counter.close()
        return rows


async def _of_a_request(counter: Counter) -> list[tuple[str, float, float]]:
    job_ids = [job_id for _ in range(TURNS) for job_id in await counter.submit()]
    held, last, batches = await counter.take(), list[str](), 0

    async def submit() -> None:
        last.extend(await counter.submit())

    async def work() -> None:
        nonlocal batches
        batches = await counter.work(held)

    submitted = await trips(counter.producing, submit)
    worked, kilobytes = await trips(counter.consuming, work)
    answered = await trips(counter.producing, lambda: counter.read(last))
    await counter.read(job_ids)
    return [
        (f"{JOBS} requests of one tick, submitted", *submitted),
        (f"a worker's batch of {JOBS}", worked / batches, kilobytes / batches),
        (f"{JOBS} answers, read", *answered),
    ]


async def _of_steps(counter: Counter) -> list[tuple[str, float, float]]:
    """Between two steps of a job that does not stream, while the worker has room and nothing waits."""
    listening = asyncio.ensure_future(anext(await counter.consumer.cancelled()))
    await asyncio.sleep(IDLE_SECONDS)

    async def steps() -> None:
        for _ in range(STEPS):
            await counter.take()
            await asyncio.sleep(STEP_SECONDS)

    asked, kilobytes = await trips(counter.consuming, steps)
    listening.cancel()
    await asyncio.wait([listening])
    return [(f"a step of {STEP_SECONDS * 1e3:.0f} ms, nothing to take", asked / STEPS, kilobytes / STEPS)]


async def _of_waiting(counter: Counter) -> list[tuple[str, float, float]]:
    reader = asyncio.ensure_future(counter.read(await counter.submit(1)))
    waited, kilobytes = await trips(counter.producing, lambda: asyncio.sleep(IDLE_SECONDS))
    await counter.work(await counter.take())
    await reader
    return [
        ("a second of waiting for an answer, with the subscription", waited / IDLE_SECONDS, kilobytes / IDLE_SECONDS),
        ("an idle worker's wait of 0.5 s", *await trips(counter.consuming, lambda: counter.take(0.5))),
    ]


def main(options: Options) -> None:
    with tempfile.TemporaryDirectory() as folder, queue_server.running(Path(folder)) as queue:
        print("| what | round trips | kB both ways |")
        print("|---|---|---|")
        for name, count, kilobytes in asyncio.run(measure(queue.port)):
            print(f"| {name} | {count:.2f} | {kilobytes:.1f} |")
