"""What one core of the queue's server carries, and what each script costs it."""

import asyncio
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
from redis import Redis

from benchmarks.broker import produced
from benchmarks.clients import BARE, KINDS, LIMITS, done, echo_job
from benchmarks.load import Figures
from benchmarks.options import Options, spread
from benchmarks.processes import cpu_seconds, python, started
from benchmarks.saturation import recorded, replayed
from service.broker.redis import RedisBroker
from tests import queue_server

PRODUCERS, CONSUMERS, CONCURRENCY = 2, 2, 64
JOBS, JOBS_PER_TURN = 3200, 32
OUTSIDE = {"cmdstat_evalsha", "cmdstat_info", "cmdstat_script|load"}


@contextmanager
def loaded(consumers: int = CONSUMERS) -> Iterator[tuple[queue_server.Server, list[int]]]:
    """A server with its consumers, and the pids of all of them, the server's first."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        queue = stack.enter_context(queue_server.running(Path(folder)))
        assert queue.process is not None
        command = python("-m", "benchmarks.clients", "consume", queue.url)
        pids = [stack.enter_context(started(command)).pid for _ in range(consumers)]
        yield queue, [queue.process.pid, *pids]


def load(queue: queue_server.Server, seconds: float) -> list[Figures]:
    options = ("--concurrency", CONCURRENCY // PRODUCERS, "--seconds", seconds)
    with ThreadPoolExecutor(PRODUCERS) as pool:
        return list(pool.map(lambda _: produced(queue.url, *options), range(PRODUCERS)))


def cost(seconds: float) -> tuple[float, float, float]:
    """Jobs/s, and microseconds of the server's and of a consumer's core for each job."""
    with loaded() as (queue, (server, *consumers)):
        load(queue, 0.5)
        before = cpu_seconds([server]), cpu_seconds(consumers)
        runs = load(queue, seconds)
        jobs = sum(run.requests for run in runs)
        after = cpu_seconds([server]), cpu_seconds(consumers)
        per_job = [(late - early) / jobs * 1e6 for early, late in zip(before, after, strict=True)]
        return sum(run.requests_per_s for run in runs), per_job[0], per_job[1]


async def scripts(url: str) -> list[tuple[str, float, float]]:
    """For each phase: commands inside of its scripts, and the server's microseconds in them, both for one job."""
    broker, turns = RedisBroker(url, LIMITS, KINDS), [JOBS_PER_TURN] * (JOBS // JOBS_PER_TURN)
    with Redis.from_url(url) as client:
        marks = [_statistics(client)]
        for jobs in turns:
            await asyncio.gather(*(broker.submit(echo_job(BARE)) for _ in range(jobs)))
        marks.append(_statistics(client))
        leases = [await broker.take([str(BARE)], budget=jobs * 1e-6, wait=0.0) for jobs in turns]
        marks.append(_statistics(client))
        for taken in leases:
            await broker.emit([(lease, [done(lease.job)]) for lease in taken])
        marks.append(_statistics(client))
    await broker.close()
    differences = np.diff(np.array(marks), axis=0) / JOBS
    return [(name, *figures) for name, figures in zip(("enqueue", "begin", "emit"), differences.tolist(), strict=True)]


def _statistics(client: Redis) -> tuple[int, int]:
    commands = client.info("commandstats")
    inside = sum(figures["calls"] for name, figures in commands.items() if name not in OUTSIDE)
    return inside, commands.get("cmdstat_evalsha", {"usec": 0})["usec"]


def main(options: Options) -> None:
    runs = [cost(options.seconds) for _ in range(options.repeats)]
    rates, server, consumer = zip(*runs, strict=True)
    print(f"{PRODUCERS} producers and {CONSUMERS} consumers, {CONCURRENCY} jobs at once; spread of {len(runs)} runs\n")
    print(f"* jobs/s on these cores: {spread(list(rates))}")
    print(f"* server, us of its core a job: {spread(list(server), 1)}")
    print(f"* so one core of the server carries, extrapolated, jobs/s: {spread([1e6 / us for us in server])}")
    print(f"* consumers and their client, us a job: {spread(list(consumer), 1)}")
    with loaded(consumers=0) as (queue, _):
        sent = asyncio.run(recorded(queue.url))
        rates, cores = zip(*(replayed(queue, sent) for _ in range(options.repeats)), strict=True)
    print(f"* saturated by recorded jobs, jobs/s: {spread(list(rates))}, at {min(cores):.2f} of a core or more\n")
    print_scripts()


def print_scripts() -> None:
    print("| script | commands inside, a job | us of the server, a job |")
    print("|---|---|---|")
    with loaded(consumers=0) as (queue, _):
        for name, commands, us in asyncio.run(scripts(queue.url)):
            print(f"| {name} | {commands:.1f} | {us:.1f} |", flush=True)
