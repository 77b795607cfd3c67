"""Row, Job, Lease, Event: the only things that cross the queue."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from model_store.store import ModelRef
from service.arrays import Arrays

RowId = tuple[str, int]
Priority = Literal["interactive", "normal", "bulk"]


@dataclass(frozen=True)
class Row:
    """One item of a job, the unit of scheduling.

    `work` is its pure size in evaluations of the session's graphs: 1 for a flow, the number of denoiser calls for
    diffusion, the chunks of a prompt and the tokens after it for text.
    """

    index: int
    seed: int
    arrays: Arrays = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    work: float = 1.0


@dataclass(frozen=True)
class Job:
    """One request on the queue. `deadline` is in seconds since the epoch; `weight` is the tenant's share of the device.

    A `detached` job outlives whoever waits for it. `request` is what its answer is made from when somebody asks later:
    it is kept with the job, and the broker does not look inside.
    """

    id: str
    model: ModelRef
    operation: str
    session_kind: str
    rows: tuple[Row, ...]
    predicted_seconds: float
    stream: bool = False
    deadline: float | None = None
    priority: Priority = "normal"
    tenant: str = "anonymous"
    weight: float = 1.0
    idempotency_key: str | None = None
    body_sha256: str = ""
    traceparent: str | None = None
    detached: bool = False
    request: bytes = b""

    @cached_property
    def work(self) -> float:
        return sum(row.work for row in self.rows)


@dataclass(frozen=True)
class Lease:
    """A worker's claim on a job. `token` is the fence: what carries an older one changes nothing."""

    job: Job
    token: int
    attempt: int


@dataclass(frozen=True)
class Failure:
    """Why a row has no result; `code` is one of fivefold.errors."""

    code: str
    message: str


@dataclass(frozen=True)
class Event:
    """One step of a row's answer. A re-run emits the same ids, "row.index", so that a client sees each once.

    `compute_ms` is the device time of the steps the row took part in, so far; `progress` is the part of its work that
    is done, in [0, 1]; `scope` says where it ran: answers are exact within one scope.
    """

    job_id: str
    row: int
    index: int
    kind: Literal["step", "done", "failed"]
    arrays: Arrays = field(default_factory=dict)
    error: Failure | None = None
    compute_ms: float = 0.0
    progress: float = 0.0
    scope: str = ""

    @property
    def id(self) -> str:
        return f"{self.row}.{self.index}"

    @property
    def row_id(self) -> RowId:
        return self.job_id, self.row

    @property
    def terminal(self) -> bool:
        return self.kind != "step"
