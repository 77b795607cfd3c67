"""The broker alone: submit -> take -> emit -> events at 32 at once, between two processes and in one."""

import asyncio
import json
import os
import subprocess
import tempfile
import threading
from pathlib import Path

import uvloop

from benchmarks.clients import BARE, LIMITS, consume, produce
from benchmarks.load import Figures
from benchmarks.options import Options, spread
from benchmarks.processes import python, started
from service.broker.aliases import AliasFile
from service.broker.memory import MemoryBroker
from tests import queue_server

CONCURRENCY = 32


def memory(seconds: float) -> Figures:
    """The consumer in a thread with a loop of its own, as the service has it."""
    broker, loop = MemoryBroker(LIMITS, AliasFile(Path(os.devnull))), uvloop.new_event_loop()
    consumer = loop.create_task(consume(broker))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        return uvloop.run(produce(broker, CONCURRENCY, seconds, BARE, 1e-6))
    finally:
        loop.call_soon_threadsafe(consumer.cancel)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(asyncio.wait([consumer]))
        loop.close()


def redis(seconds: float) -> Figures:
    """A process for the producer, one for the consumer, and the server."""
    with (
        tempfile.TemporaryDirectory() as folder,
        queue_server.running(Path(folder)) as queue,
        started(python("-m", "benchmarks.clients", "consume", queue.url)),
    ):
        return produced(queue.url, "--concurrency", CONCURRENCY, "--seconds", seconds)


def produced(url: str, *options: object) -> Figures:
    """A producer's process, run to its end."""
    command = python("-m", "benchmarks.clients", "produce", url, *options)
    return Figures(**json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))


def main(options: Options) -> None:
    runs = [(memory(options.seconds), redis(options.seconds)) for _ in range(options.repeats)]
    print("| broker | requests/s (spread) | p50 ms | p99 ms | of memory |")
    print("|---|---|---|---|---|")
    for place, name in enumerate(("memory", "redis")):
        own = [run[place] for run in runs]
        middle = sorted(own, key=lambda run: run.requests_per_s)[len(own) // 2]
        ratio = spread([run[place].requests_per_s / run[0].requests_per_s for run in runs], 2)
        rates = spread([run.requests_per_s for run in own])
        print(f"| {name} | {rates} | {middle.p50_ms:.2f} | {middle.p99_ms:.2f} | {ratio} |", flush=True)
