"""Jobs, and what a worker or a client does with them, in a few words."""

from collections.abc import Callable, Sequence
from typing import Any

from model_store.store import ModelRef
from service.broker.base import Broker, JobStatus
from service.jobs import Event, Failure, Job, Lease, Row

MODEL = ModelRef("m", "1", "0" * 64)
M = str(MODEL)
MakeBroker = Callable[..., Broker]


class Clock:
    """Seconds since the epoch, when told so."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


def job(name: str, rows: int = 1, seconds: float = 1.0, model: ModelRef = MODEL, **fields: Any) -> Job:
    fields = {"detached": True, "request": b"{}"} | fields
    return Job(f"{model}-{name}", model, "toy/op", "kind", tuple(Row(i, i) for i in range(rows)), seconds, **fields)


def ident(name: str) -> str:
    """The id of the job that was made with this name; an id is its own."""
    return name if "@" in name else f"{M}-{name}"


def name_of(job_id: str) -> str:
    return job_id.rpartition("-")[2]


def done(name: str, row: int = 0, index: int = 0) -> Event:
    return Event(ident(name), row, index, "done")


def step(name: str, row: int = 0, index: int = 0) -> Event:
    return Event(ident(name), row, index, "step")


def failure(name: str, row: int = 0) -> Event:
    return Event(ident(name), row, 0, "failed", error=Failure("row_failed", "it fails alone"))


async def take(broker: Broker, budget: float = 0.0, models: Sequence[str] = (M,)) -> Sequence[Lease]:
    return await broker.take(models, budget=budget, wait=0.0)


async def take_one(broker: Broker) -> Lease:
    (lease,) = await take(broker)
    return lease


async def emit(broker: Broker, lease: Lease, events: Sequence[Event]) -> bool:
    """False where the lease is lost."""
    return not await broker.emit([(lease, events)])


async def finish(broker: Broker, lease: Lease) -> bool:
    return await emit(broker, lease, [done(lease.job.id, row.index) for row in lease.job.rows])


async def read(broker: Broker, job_id: str) -> list[Event]:
    return [event async for event in broker.events(ident(job_id))]


async def status_of(broker: Broker, name: str, tenant: str = "anonymous") -> JobStatus:
    return await broker.status(ident(name), tenant)


async def cancel(broker: Broker, name: str, tenant: str = "anonymous") -> bool:
    return await broker.cancel(ident(name), tenant)


async def replay(broker: Broker, name: str) -> None:
    await broker.replay(ident(name))
