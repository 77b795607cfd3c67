"""`python -m service [all|check|key]`: reads Settings, wires the rooms together; the composition root."""

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
from service.api.issue import issue
from service.api.keys import InvalidKeys
from service.broker.base import Limits
from service.broker.memory import MemoryBroker
from service.families.registry import FAMILIES, Family
from service.runtime import onnx
from service.settings import Settings
from service.telemetry import Metrics, configure_logging
from service.worker import check as worker_check
from service.worker.loop import Worker
from service.worker.residency import Residency


def run_all(settings: Settings, families: Sequence[Family] = FAMILIES) -> None:
    """API and worker in one process, until a signal; what is under way is finished first."""
    server, worker = build(settings, families)
    # uvicorn raises the signal again once it has shut down; by then it means: leave, with success.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    loop = asyncio.Runner(loop_factory=server.config.get_loop_factory())
    with in_thread(worker), suppress(KeyboardInterrupt), loop:
        loop.run(_serve(server, worker))


async def _serve(server: uvicorn.Server, worker: Worker) -> None:
    announcement = asyncio.create_task(_announce(server, worker))
    await server.serve()
    announcement.cancel()


async def _announce(server: uvicorn.Server, worker: Worker) -> None:
    """Print address, models and device, once they are served."""
    while not (server.started and await worker.broker.workers()):
        await asyncio.sleep(0.05)
    (status,) = await worker.broker.workers()
    host, port = server.servers[0].sockets[0].getsockname()[:2]
    print(f"Fivefold on http://{host}:{port} (docs at /docs), {status.device}: {status.scope}")
    for served in status.models:
        costs = ", ".join(f"{kind} {curve.seconds(1) * 1e3:.1f} ms" for kind, curve in served.costs.items())
        print(f"  {served.ref!s:28} {costs} a row", flush=True)


def check(settings: Settings) -> bool:
    """Print what `service.worker.check` finds for every graph of the store; True where all is as declared."""
    residency = Residency(settings, Store(settings.store), FAMILIES, partial(onnx.load_graph, settings=settings))
    good = True
    for report in worker_check.check(residency):
        state = "skipped" if report.skipped else "BAD" if report.error else "good"
        deviation = "" if report.deviation is None else f"golden within {report.deviation:.2g}, rows {report.measured}"
        print(f"{state:8}{report.model:32}{report.graph:16}{report.error or deviation}")
        good = good and state != "BAD"
    return good


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
    if sys.argv[1:2] == ["key"]:
        return issue(sys.argv[2:])
    parser = argparse.ArgumentParser(prog="python -m service", description=__doc__)
    parser.add_argument("command", nargs="?", choices=["all", "check", "key"], default="all")
    command = parser.parse_args().command
    try:
        settings = Settings()
    except ValidationError as error:
        print(error, file=sys.stderr)
        return 2
    configure_logging(settings.log_level)
    if command == "check":
        return 0 if check(settings) else 1
    try:
        run_all(settings)
    except InvalidKeys as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
