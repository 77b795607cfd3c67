"""`python -m benchmarks.node all|threads|api|worker`: processes of the service that serve the echo model.

`threads` is the API and a worker in one process, which `all` has in two: for the comparison of both.
"""

import argparse
import asyncio
import threading
from functools import partial

from benchmarks.echo import EchoGraph, echo_family
from model_store.manifest import GraphSpec
from model_store.store import Store
from service.__main__ import run_all, run_api
from service.assembly import make_queue, make_server, memory_broker
from service.families.family import Family
from service.settings import Settings
from service.telemetry import Metrics, configure_logging
from service.worker.loop import Worker


def load_graph(data: bytes, spec: GraphSpec, *, seconds: float) -> EchoGraph:
    return EchoGraph(spec, seconds)


def run_worker(settings: Settings, families: tuple[Family, ...], seconds: float) -> None:
    metrics = Metrics()
    queue, opened = make_queue(settings, families, metrics), partial(load_graph, seconds=seconds)
    asyncio.run(Worker(settings, queue, Store(settings.store), families, metrics, opened).run())


def run_threads(settings: Settings, families: tuple[Family, ...], seconds: float) -> None:
    metrics, broker, store = Metrics(), memory_broker(settings), Store(settings.store)
    worker = Worker(settings, broker, store, families, metrics, partial(load_graph, seconds=seconds))
    threading.Thread(target=lambda: asyncio.run(worker.run()), daemon=True).start()
    make_server(settings, broker, store, families, metrics).run()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.node", description=__doc__)
    parser.add_argument("command", choices=["all", "threads", "api", "worker"])
    parser.add_argument("--seconds", type=float, default=0.0, help="what one batch takes")
    parser.add_argument("--capacity", type=int, default=256, help="rows in a batch, at most")
    asked = parser.parse_args()
    settings, families = Settings(), (echo_family(asked.capacity),)
    configure_logging(settings.log_level, settings.log_format)
    options = ("--seconds", str(asked.seconds), "--capacity", str(asked.capacity))
    if asked.command == "all":
        run_all(settings, families, ("-m", "benchmarks.node", "worker", *options))
    elif asked.command == "api":
        run_api(settings, families)
    else:
        {"worker": run_worker, "threads": run_threads}[asked.command](settings, families, asked.seconds)


if __name__ == "__main__":
    main()
