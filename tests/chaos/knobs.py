"""The settings of every process of the tests."""

from collections.abc import Callable
from pathlib import Path

from chaos.family import CHAOS
from chaos.processes import Member

from service.assembly import make_broker
from service.broker.base import Broker
from service.settings import Settings
from service.telemetry import Metrics

Knobs = dict[str, object]
Start = Callable[..., Member]
LEASE_SECONDS = 0.6


def knobs_of(url: str, store: Path) -> Knobs:
    """Short leases and quick heartbeats, so that the tests are quick; a queue that holds what they send."""
    return {
        "redis_url": url,
        "store": store,
        "intra_op_threads": 1,
        "lease_seconds": LEASE_SECONDS,
        "heartbeat_seconds": 0.1,
        "max_queue_seconds": 1e6,
        "max_queued_jobs": 100_000,
        "log_level": "error",
    }


def broker_of(knobs: Knobs) -> Broker:
    """The queue, for the test itself."""
    return make_broker(Settings(**knobs), (CHAOS,), Metrics().registry)
