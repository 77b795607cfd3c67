"""Jobs, and what a worker or a client does with them, in a few words."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from model_store.store import ModelRef
from service.broker.aliases import AliasFile
from service.broker.base import Broker, JobStatus, Limits
from service.broker.memory import MemoryBroker
from service.jobs import Events, Failure, Job, Lease, Parameters, block_of, failed
from service.settings import Settings

MODEL = ModelRef("m", "1", "0" * 64)
M = str(MODEL)
KINDS = {"Parameters": Parameters}
MakeBroker = Callable[..., Broker]


class Clock:
    """Seconds since the epoch, when told so."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


def limits_of(**given: Any) -> Limits:
    """The queue's bounds: the defaults of the settings, and what is given."""
    return replace(Limits.of(Settings()), **given)


def memory_broker(clock: Clock, folder: Path, **given: Any) -> MemoryBroker:
    return MemoryBroker(limits_of(**given), AliasFile(folder / "aliases.json"), clock)


def job(name: str, rows: int = 1, seconds: float = 1.0, model: ModelRef = MODEL, **fields: Any) -> Job:
    fields = {"detached": True, "request": b"{}"} | fields
    return Job(f"{model}-{name}", model, "toy/op", block_of(Parameters(), rows), seconds, **fields)


def ident(name: str) -> str:
    """The id of the job that was made with this name; an id is its own."""
    return name if "@" in name else f"{M}-{name}"


def name_of(job_id: str) -> str:
    return job_id.rpartition("-")[2]


class Seen(NamedTuple):
    """One event of one row."""

    row: int
    index: int
    kind: str
    error: Failure | None

    @property
    def id(self) -> str:
        return f"{self.row}.{self.index}"

    @property
    def terminal(self) -> bool:
        return self.kind != "step"


def seen(events: Iterable[Events]) -> list[Seen]:
    """Row by row, in the order in which they were published."""
    return [
        Seen(row, step, one.kind, one.failure)
        for one in events
        for row, step in zip(one.rows.tolist(), one.steps.tolist(), strict=True)
    ]


def events_of(name: str, kind: str, rows: Sequence[int], step: int = 0, **columns: np.ndarray) -> Events:
    places, steps = np.array(rows, np.int64), np.full(len(rows), step)
    return Events(ident(name), kind, places, steps, columns)  # type: ignore[arg-type]


def done(name: str, row: int = 0, index: int = 0, **columns: np.ndarray) -> Events:
    return events_of(name, "done", [row], index, **columns)


def step(name: str, row: int = 0, index: int = 0) -> Events:
    return events_of(name, "step", [row], index)


def failure(name: str, row: int = 0) -> Events:
    return failed(ident(name), np.array([row]), Failure("row_failed", "it fails alone"))


async def take(broker: Broker, budget: float = 0.0, models: Sequence[str] = (M,)) -> Sequence[Lease]:
    return await broker.take(models, budget=budget, wait=0.0)


async def take_one(broker: Broker) -> Lease:
    (lease,) = await take(broker)
    return lease


async def emit(broker: Broker, lease: Lease, events: Sequence[Events]) -> bool:
    """False where the lease is lost."""
    return not await broker.emit([(lease, events)])


async def finish(broker: Broker, lease: Lease) -> bool:
    return await emit(broker, lease, [events_of(lease.job.id, "done", lease.job.block.rows.tolist())])


async def read(broker: Broker, job_id: str) -> list[Seen]:
    return seen([events async for events in broker.events(ident(job_id))])


async def status_of(broker: Broker, name: str, tenant: str = "anonymous") -> JobStatus:
    return await broker.status(ident(name), tenant)


async def cancel(broker: Broker, name: str, tenant: str = "anonymous") -> bool:
    return await broker.cancel(ident(name), tenant)


async def replay(broker: Broker, name: str) -> None:
    await broker.replay(ident(name))
