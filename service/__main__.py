"""`python -m service [all|check]`: reads Settings, wires the rooms together; the composition root."""

import argparse
import asyncio
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial

import uvicorn
from pydantic import ValidationError

from model_store.store import Store
from service.api.app import create_app
from service.broker.base import Limits
from service.broker.memory import MemoryBroker
from service.families.registry import FAMILIES, Family
from service.runtime import onnx
from service.settings import Settings
from service.telemetry import Metrics, configure_logging
from service.worker.loop import Worker


def run_all(settings: Settings, families: Sequence[Family] = FAMILIES) -> None:
    """API and worker in one process, until a signal; what is under way is finished first."""
    server, worker = build(settings, families)
    # uvicorn raises the signal again once it has shut down; by then it means: leave, with success.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with in_thread(worker), suppress(KeyboardInterrupt):
        server.run()


def build(settings: Settings, families: Sequence[Family] = FAMILIES) -> tuple[uvicorn.Server, Worker]:
    """The two halves, joined by an in-process queue."""
    store, metrics = Store(settings.store), Metrics()
    broker = MemoryBroker(Limits(max_queue_seconds=settings.max_queue_seconds))
    worker = Worker(settings, broker, store, families, metrics, partial(onnx.load_graph, settings=settings))
    app = create_app(settings, broker, store, families, metrics)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=round(settings.shutdown_seconds),
    )
    return uvicorn.Server(config), worker


@contextmanager
def in_thread(worker: Worker) -> Iterator[None]:
    """Run the worker on an event loop of its own; at the end it finishes its rows."""
    thread = threading.Thread(target=lambda: asyncio.run(worker.run()), name="worker")
    thread.start()
    try:
        yield
    finally:
        worker.stop()
        thread.join()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m service", description=__doc__)
    parser.add_argument("command", nargs="?", choices=["all"], default="all")
    parser.parse_args()
    try:
        settings = Settings()
    except ValidationError as error:
        print(error, file=sys.stderr)
        return 2
    configure_logging(settings.log_level)
    run_all(settings)
    return 0


if __name__ == "__main__":
    sys.exit(main())
