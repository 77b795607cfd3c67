"""`python -m benchmarks.node all|api|worker`: a process of the service that serves the echo model, by FIVEFOLD_*."""

import argparse
import asyncio
from functools import partial

from benchmarks.echo import EchoGraph, echo_family
from model_store.manifest import GraphSpec
from model_store.store import Store
from service.__main__ import in_thread, make_broker, make_server
from service.settings import Settings
from service.telemetry import Metrics, configure_logging
from service.worker.loop import Worker


def load_graph(data: bytes, spec: GraphSpec, *, seconds: float) -> EchoGraph:
    return EchoGraph(spec, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.node", description=__doc__)
    parser.add_argument("command", choices=["all", "api", "worker"])
    parser.add_argument("--seconds", type=float, default=0.0, help="what one batch takes")
    parser.add_argument("--capacity", type=int, default=256, help="rows in a batch, at most")
    asked = parser.parse_args()
    settings, metrics = Settings(), Metrics()
    configure_logging(settings.log_level)
    store, families = Store(settings.store), (echo_family(asked.capacity),)
    broker = make_broker(settings, families)
    worker = Worker(settings, broker, store, families, metrics, partial(load_graph, seconds=asked.seconds))
    if asked.command == "worker":
        asyncio.run(worker.run())
        return
    server = make_server(settings, broker, store, families, metrics)
    if asked.command == "api":
        server.run()
    else:
        with in_thread(worker):
            server.run()


if __name__ == "__main__":
    main()
