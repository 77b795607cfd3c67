"""`python -m service [all|api|worker|check|key]`: reads Settings, wires the rooms together; the composition root.

Each command imports what it runs: an API process needs no engine, a worker no web server.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import threading
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_store.store import Store
from service.broker.aliases import AliasFile
from service.broker.base import Broker, Limits, QueueAway
from service.broker.memory import MemoryBroker
from service.families.registry import FAMILIES, Family
from service.settings import Settings
from service.telemetry import Metrics, configure_logging

if TYPE_CHECKING:
    import uvicorn

    from service.worker.loop import Worker

SECRETS = Path("/run/secrets")  # where containers find files named as the variables, such as fivefold_redis_url


def run_all(settings: Settings, families: Sequence[Family] = FAMILIES) -> None:
    """API and worker in one process, until a signal; what is under way is finished first."""
    server, worker = build(settings, families)
    with in_thread(worker):
        _run_server(server, _announce(server, worker.broker))


def run_api(settings: Settings, families: Sequence[Family] = FAMILIES) -> None:
    """An API replica, until a signal."""
    broker = make_broker(settings)
    server = make_server(settings, broker, Store(settings.store), families, Metrics())
    _run_server(server, _announce(server, broker))


def run_worker(settings: Settings, families: Sequence[Family] = FAMILIES) -> None:
    """A worker, until a signal: its live rows are finished, what has not begun is handed back."""
    from service.worker.probe import probe

    metrics = Metrics()
    worker = make_worker(settings, make_broker(settings), Store(settings.store), families, metrics)
    with probe(settings, worker, metrics):
        asyncio.run(_until_told(worker))


async def _until_told(worker: Worker) -> None:
    for sign in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sign, worker.stop)
    await worker.run()


def build(settings: Settings, families: Sequence[Family] = FAMILIES) -> tuple[uvicorn.Server, Worker]:
    """Both halves, joined by one queue. Raises InvalidKeys."""
    broker, store, metrics = make_broker(settings), Store(settings.store), Metrics()
    worker = make_worker(settings, broker, store, families, metrics)
    return make_server(settings, broker, store, families, metrics), worker


def make_broker(settings: Settings) -> Broker:
    """The queue in this process, or the one between machines where its address is given."""
    limits = Limits.of(settings)
    if settings.redis_url is None:
        return MemoryBroker(limits, AliasFile(settings.aliases_file or settings.store / "aliases.json"))
    from service.broker.redis import RedisBroker

    return RedisBroker(settings.redis_url.get_secret_value(), limits)


def make_worker(
    settings: Settings, broker: Broker, store: Store, families: Sequence[Family], metrics: Metrics
) -> Worker:
    from service.runtime import onnx
    from service.worker.loop import Worker

    return Worker(settings, broker, store, families, metrics, partial(onnx.load_graph, settings=settings))


def make_server(
    settings: Settings, broker: Broker, store: Store, families: Sequence[Family], metrics: Metrics
) -> uvicorn.Server:
    import uvicorn

    from service.api.app import create_app

    config = uvicorn.Config(
        create_app(settings, broker, store, families, metrics),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=round(settings.shutdown_seconds),
    )
    return uvicorn.Server(config)


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


def _run_server(server: uvicorn.Server, announcement: Coroutine[Any, Any, None]) -> None:
    # uvicorn raises the signal again once it has shut down; by then it means: leave, with success.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))

    async def serve() -> None:
        announcing = asyncio.ensure_future(announcement)
        await server.serve()
        announcing.cancel()

    with suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
        runner.run(serve())


async def _announce(server: uvicorn.Server, broker: Broker) -> None:
    """Print the address, and each model once a worker serves it."""
    while not server.started:
        await asyncio.sleep(0.05)
    host, port = server.servers[0].sockets[0].getsockname()[:2]
    print(f"Fivefold on http://{host}:{port} (docs at /docs)", flush=True)
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
    parser = argparse.ArgumentParser(prog="python -m service", description=__doc__)
    parser.add_argument("command", nargs="?", choices=["all", "api", "worker", "check", "key"], default="all")
    parser.add_argument("--redis", metavar="URL", help="the queue between machines (or FIVEFOLD_REDIS_URL)")
    asked = parser.parse_args()
    try:
        settings = read_settings(asked.redis)
        if asked.command in ("api", "worker") and settings.redis_url is None:
            parser.error(f"{asked.command} alone needs the queue between machines: --redis redis://HOST:6379/0")
        configure_logging(settings.log_level)
        return run(asked.command, settings)
    except ValueError as error:  # settings or keys that cannot work
        print(error, file=sys.stderr)
        return 2


def read_settings(redis_url: str | None) -> Settings:
    """From variables and secret files. Raises ValidationError."""
    given: Any = {} if redis_url is None else {"redis_url": redis_url}
    return Settings(_secrets_dir=SECRETS if SECRETS.is_dir() else None, **given)


def run(command: str, settings: Settings) -> int:
    """The exit code of a command, once it has ended."""
    if command == "check":
        return 0 if check(settings) else 1
    {"all": run_all, "api": run_api, "worker": run_worker}[command](settings)
    return 0


if __name__ == "__main__":
    sys.exit(main())
