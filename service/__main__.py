"""`python -m service [all|api|worker|check|key]`: reads Settings, wires the rooms together; the composition root.

Each command imports what it runs: an API process needs no engine, a worker no web server.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from model_store.store import Store
from service.assembly import make_broker, make_queue, make_server, make_worker, memory_broker
from service.broker.base import Broker, QueueAway
from service.broker.unix.server import BrokerServer
from service.families.registry import FAMILIES, Family
from service.read_settings import check_place, read_settings
from service.settings import Settings
from service.supervisor import WorkerProcess
from service.telemetry import Metrics, configure_logging

if TYPE_CHECKING:
    import uvicorn

    from service.worker.loop import Worker

COMMANDS = ("all", "api", "worker", "check")
STANDARD_INPUT = 0
SWITCH_SECONDS = 0.0005
GRACE_SECONDS = 5.0  # beyond what a worker may take to finish its rows


def run_all(
    settings: Settings, families: Sequence[Family] = FAMILIES, worker: Sequence[str] = ("-m", "service", "worker")
) -> None:
    """The API in this process and a worker in one beside it, until a signal; what is under way is finished first.

    `worker` is what Python runs there: an engine that crashes takes no request along.
    """
    metrics, grace_seconds = Metrics(), settings.shutdown_seconds + GRACE_SECONDS
    store = Store(settings.store)
    if settings.redis_url is not None:
        broker = make_broker(settings, families, metrics.registry)
        environment = {"FIVEFOLD_REDIS_URL": settings.redis_url.get_secret_value()}
        beside = WorkerProcess(worker, environment, grace_seconds)
        _run_server(make_server(settings, broker, store, families, metrics), broker, beside)
        return
    with tempfile.TemporaryDirectory(prefix="fivefold-") as folder:
        own, socket = memory_broker(settings), Path(folder) / "queue"
        queue = BrokerServer(own, socket)
        metrics.worker_exposition = queue.exposition
        beside = WorkerProcess(worker, {"FIVEFOLD_BROKER_SOCKET": str(socket)}, grace_seconds)
        _run_server(make_server(settings, own, store, families, metrics), own, queue, beside)


def run_api(settings: Settings, families: Sequence[Family] = FAMILIES) -> None:
    """An API replica, until a signal."""
    metrics = Metrics()
    broker = make_broker(settings, families, metrics.registry)
    _run_server(make_server(settings, broker, Store(settings.store), families, metrics), broker)


def run_worker(settings: Settings, families: Sequence[Family] = FAMILIES) -> None:
    """A worker, until a signal: its live rows are finished, what has not begun is handed back."""
    from service.worker.probe import probe

    # A model that is loaded beside the loop runs Python between its calls of the engine: the loop waits for the
    # interpreter at each of its own calls, five milliseconds at most by default, and half of one here.
    sys.setswitchinterval(SWITCH_SECONDS)
    metrics = Metrics()
    queue = make_queue(settings, families, metrics)
    worker = make_worker(settings, queue, Store(settings.store), families, metrics)
    if settings.broker_socket is not None:
        threading.Thread(target=_stop_with_parent, args=[worker], daemon=True).start()
    with probe(settings, worker, metrics):
        asyncio.run(_until_told(worker))


def _stop_with_parent(worker: Worker) -> None:
    """The process that started this one holds its standard input open as long as it lives."""
    while os.read(STANDARD_INPUT, 1):  # not through sys.stdin, whose lock would outlive this thread
        pass
    worker.stop()


async def _until_told(worker: Worker) -> None:
    for sign in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sign, worker.stop)
    await worker.run()


def _run_server(server: uvicorn.Server, broker: Broker, *beside: AbstractAsyncContextManager[object]) -> None:
    """Serve until a signal, with these beside it, which end after the last answer."""
    # uvicorn raises the signal again once it has shut down; by then it means: leave, with success.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))

    async def serve() -> None:
        async with AsyncExitStack() as stack:
            for one in beside:
                await stack.enter_async_context(one)
            announcing = asyncio.ensure_future(_announce(server, broker))
            await server.serve()
            announcing.cancel()

    with suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
        runner.run(serve())


async def _announce(server: uvicorn.Server, broker: Broker) -> None:
    """Print the address, and each model once a worker serves it."""
    while not server.started:
        await asyncio.sleep(0.05)
    host, port = server.servers[0].sockets[0].getsockname()[:2]
    name = f"[{host}]" if ":" in host else host
    print(f"Fivefold on http://{name}:{port} (docs at /docs)", flush=True)
    told: set[str] = set()
    while not told:
        with suppress(QueueAway):
            for status in (status for status in await broker.workers() if status.models):  # others took their leave
                print(f"Worker {status.id} on {status.device}: {status.scope}")
                for served in status.models:
                    costs = ", ".join(
                        f"{graph} {curve.seconds(1) * 1e3:.1f} ms" for graph, curve in served.costs.items()
                    )
                    print(f"  {served.ref!s:28} {costs} a row", flush=True)
                told.add(status.id)
        await asyncio.sleep(0.05)


def check(settings: Settings) -> bool:
    """Print what `service.worker.check` finds for every graph of the store; True where all is as declared."""
    from service.runtime import onnx
    from service.worker import check as worker_check
    from service.worker.residency import Residency

    residency = Residency(settings, Store(settings.store), FAMILIES, partial(onnx.load_graph, settings=settings))
    good = True
    for report in worker_check.check(residency):
        state = "skipped" if report.skipped else "BAD" if report.error else "good"
        deviation = "" if report.deviation is None else f"golden within {report.deviation:.2g}, rows {report.measured}"
        print(f"{state:8}{report.model:32}{report.graph:16}{report.error or deviation}")
        good = good and state != "BAD"
    return good


def main() -> int:
    if sys.argv[1:2] == ["key"]:
        from service.api.access.issue_key import issue

        return issue(sys.argv[2:])
    flags = sys.argv[1:]
    command = flags.pop(0) if flags and not flags[0].startswith("-") else "all"
    try:
        if command not in COMMANDS:
            raise ValueError(f"{command} is no command: {', '.join(COMMANDS)} or key")
        settings = read_settings(flags)
        if command in ("api", "worker") and settings.redis_url is None and settings.broker_socket is None:
            raise ValueError(f"{command} alone needs the queue between machines: --redis-url redis://HOST:6379/0")
        check_place(settings, listens=command in ("all", "api"))
        configure_logging(settings.log_level, settings.log_format)
        return run(command, settings, flags)
    except ValueError as error:  # settings or keys that cannot work
        print(error, file=sys.stderr)
        return 2


def run(command: str, settings: Settings, flags: Sequence[str]) -> int:
    """The exit code of a command, once it has ended. The worker beside an API has its flags."""
    if command == "check":
        return 0 if check(settings) else 1
    if command == "all":
        run_all(settings, worker=("-m", "service", "worker", *flags))
    else:
        {"api": run_api, "worker": run_worker}[command](settings)
    return 0


if __name__ == "__main__":
    sys.exit(main())
