"""Throughput of 1 to 16 workers whose device takes 100 ms for a batch of 8: a stand-in for as many GPUs."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from redis import Redis

from benchmarks import echo
from benchmarks.broker import produced
from benchmarks.options import Options, spread
from benchmarks.processes import cpu_seconds, python, started
from service.broker.redis import keys
from tests import queue_server

COUNTS = (1, 2, 4, 8, 16)
BATCH, BATCH_SECONDS = 8, 0.1
OUTSTANDING = 2 * BATCH  # jobs at once for each worker
IDEAL = BATCH / BATCH_SECONDS


@contextmanager
def working(count: int) -> Iterator[tuple[queue_server.Server, str, list[int]]]:
    """A server, and so many workers that have beaten once; the model's digest, and the pids of all."""
    with ExitStack() as stack:
        store, folder = (Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in range(2))
        digest = echo.publish_echo(store).ref.digest
        queue = stack.enter_context(queue_server.running(folder))
        assert queue.process is not None
        command = python("-m", "benchmarks.node", "worker", "--seconds", BATCH_SECONDS, "--capacity", BATCH)
        settings = {"store": store, "redis_url": queue.url, "max_step_ms": 2e3 * BATCH_SECONDS}
        workers = [stack.enter_context(started(command, **settings)) for _ in range(count)]
        with Redis.from_url(queue.url) as client:
            while client.hlen(keys.WORKERS) < count:
                time.sleep(0.1)
        yield queue, digest, [queue.process.pid, *(worker.pid for worker in workers)]


def measure(count: int, seconds: float) -> tuple[float, float, float]:
    """Requests/s, p99 in ms, and the part of a core that workers and server use."""
    with working(count) as (queue, digest, pids):
        options = ("--digest", digest, "--predicted-seconds", BATCH_SECONDS)
        before, began = cpu_seconds(pids), time.perf_counter()
        run = produced(queue.url, *options, "--concurrency", OUTSTANDING * count, "--seconds", seconds)
        return run.requests_per_s, run.p99_ms, (cpu_seconds(pids) - before) / (time.perf_counter() - began)


def main(options: Options) -> None:
    print(f"{BATCH} rows take {BATCH_SECONDS * 1e3:.0f} ms; {OUTSTANDING} jobs at once for each worker\n")
    print("| workers | requests/s (spread) | of n x one worker | of n x the device's limit | p99 ms | cores used |")
    print("|---|---|---|---|---|---|")
    runs = [{count: measure(count, options.seconds) for count in COUNTS} for _ in range(options.repeats)]
    for count in COUNTS:
        rates = [run[count][0] for run in runs]
        ratios = spread([run[count][0] / (count * run[1][0]) for run in runs], 2)
        limit = sorted(rates)[len(rates) // 2] / (count * IDEAL)
        _, p99_ms, cores = sorted(run[count] for run in runs)[len(runs) // 2]
        cells = f"{spread(rates)} | {ratios} | {limit:.2f} | {p99_ms:.0f} | {cores:.2f}"
        print(f"| {count} | {cells} |", flush=True)
