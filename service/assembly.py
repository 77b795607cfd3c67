"""Makes the parts of a process from the settings: the queue, a worker, a server. Each imports only what it needs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from model_store.store import Store
from service.broker.aliases import AliasFile
from service.broker.base import Broker, Limits, WorkerQueue
from service.broker.memory import MemoryBroker
from service.families.family import Family, kinds_of
from service.settings import Settings
from service.telemetry import Metrics, UnreadableMessages

if TYPE_CHECKING:
    import uvicorn

    from service.worker.loop import Worker


def make_broker(settings: Settings, families: Sequence[Family], registry: CollectorRegistry) -> Broker:
    """The queue in this process, or the one between machines where its address is given.

    What cannot be read there is counted in the `registry`, that of this process.
    """
    if settings.redis_url is None:
        return memory_broker(settings)
    from service.broker.redis import RedisBroker

    broker = RedisBroker(settings.redis_url.get_secret_value(), Limits.of(settings), kinds_of(families))
    registry.register(UnreadableMessages(broker.unreadable))
    return broker


def memory_broker(settings: Settings) -> MemoryBroker:
    """The queue in this process."""
    return MemoryBroker(Limits.of(settings), AliasFile(settings.aliases_file or settings.store / "aliases.json"))


def make_queue(settings: Settings, families: Sequence[Family], metrics: Metrics) -> WorkerQueue:
    """A worker's queue: that of the process that started it, or the one between machines."""
    if settings.broker_socket is None:
        return make_broker(settings, families, metrics.worker_registry)
    from service.broker.unix.client import UnixBroker

    return UnixBroker(settings.broker_socket, kinds_of(families), metrics.worker_exposition)


def make_worker(
    settings: Settings, queue: WorkerQueue, store: Store, families: Sequence[Family], metrics: Metrics
) -> Worker:
    """A worker with the engine that its settings choose."""
    from service.runtime import onnx
    from service.worker.loop import Worker

    return Worker(settings, queue, store, families, metrics, partial(onnx.load_graph, settings=settings))


def make_server(
    settings: Settings, broker: Broker, store: Store, families: Sequence[Family], metrics: Metrics
) -> uvicorn.Server:
    """Raises InvalidKeys."""
    import uvicorn

    from service.api.access.connection import Connections
    from service.api.app import create_app

    config = uvicorn.Config(
        create_app(settings, broker, store, families, metrics),
        http=Connections(settings).protocol,  # type: ignore[arg-type]
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=round(settings.keep_alive_seconds),
        timeout_graceful_shutdown=round(settings.shutdown_seconds),
    )
    return uvicorn.Server(config)
