"""Metrics and structured logs: one place that names them."""

import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

LATENCY_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600)
BATCH_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Every metric of the service: those of the API and those of the worker, in registries of their own.

    `worker_exposition` gives the text of the worker's: another process's, where the worker has one beside the API's.
    """

    def __init__(self) -> None:
        self.registry, self.worker_registry = CollectorRegistry(), CollectorRegistry()
        self.worker_exposition: Callable[[], bytes] = partial(generate_latest, self.worker_registry)
        self.requests = Counter(
            "fivefold_requests", "Answers by route and status", ["route", "status"], registry=self.registry
        )
        self.request_seconds = Histogram(
            "fivefold_request_seconds", "Arrival to answer", ["route"], buckets=LATENCY_SECONDS, registry=self.registry
        )
        self.queued_jobs = Gauge("fivefold_queued_jobs", "Jobs waiting", ["model"], registry=self.worker_registry)
        self.queued_seconds = Gauge(
            "fivefold_queued_seconds", "Predicted seconds waiting and running", ["model"], registry=self.registry
        )
        self.workers = Gauge("fivefold_workers", "Workers with a fresh heartbeat", registry=self.registry)
        self.rows = Counter("fivefold_rows", "Rows by how they ended", ["model", "end"], registry=self.worker_registry)
        self.steps = Counter("fivefold_steps", "Steps run", ["model", "session_kind"], registry=self.worker_registry)
        self.step_seconds = Histogram(
            "fivefold_step_seconds",
            "Device time of a step",
            ["model"],
            buckets=LATENCY_SECONDS,
            registry=self.worker_registry,
        )
        self.step_rows = Histogram(
            "fivefold_step_rows", "Rows in a step", ["model"], buckets=BATCH_ROWS, registry=self.worker_registry
        )


class UnreadableMessages(Collector):
    """fivefold_unreadable_messages: what this process has skipped of the queue's messages, by kind."""

    def __init__(self, counts: Mapping[str, int]) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        text = "Messages of the queue that were skipped, because they cannot be read here"
        found = CounterMetricFamily("fivefold_unreadable_messages", text, labels=["kind"])
        for kind, count in dict(self._counts).items():
            found.add_metric([kind], count)
        yield found


def configure_logging(level: str, form: str = "json") -> None:
    """One JSON object per line on standard error, or lines for people: "console", and "auto" on a terminal.

    Prompts, images, rows and keys are never logged.
    """
    console = form == "console" or (form == "auto" and sys.stderr.isatty())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            *([] if console else [structlog.processors.format_exc_info]),
            structlog.dev.ConsoleRenderer() if console else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
