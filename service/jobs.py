"""Block, Job, Lease, Events: the only things that cross the queue."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model_store.store import ModelRef
from service.arrays import Array, Arrays, Columns, select
from service.costs import CostCurve, Costs

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
Priority = Literal["interactive", "normal", "bulk"]

# One killer input costs no more than the rows of one job.
MAX_JOB_ROWS = 256
# The formats in which this version writes jobs and reads events, ascending.
FORMATS = (1,)
# A failure is no step: its index lies beyond that of any step of a row.
FAILED_STEP = 2**31 - 1


class Range(NamedTuple):
    """The rows at the positions start, ..., stop - 1 of a job's block."""

    job_id: str
    start: int
    stop: int

    @property
    def rows(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True)
class Parameters:
    """What the items of a block share, typed: one frozen subclass per kind of session, and the kind is the class.

    Fields are numbers, texts, booleans, None and tuples of these; each has a default, so that older messages are read.
    `graphs` names the graphs that one evaluation of a row calls.
    """

    graphs: ClassVar[tuple[str, ...]] = ()

    @property
    def step_evaluations(self) -> int:
        """How many evaluations a step of one row makes."""
        return 1

    @classmethod
    def step_cost(cls, costs: Costs) -> CostCurve:
        """What a step of n evaluations costs."""
        return sum((costs[name] for name in cls.graphs), CostCurve(0.0, 0.0))

    def seconds(self, rows: int, work: float, costs: Costs) -> float:
        """Predicted seconds of `rows` rows that need `work` evaluations in all."""
        return self.step_cost(costs).seconds(work)


NO_PARAMETERS = Parameters()


@dataclass(frozen=True, eq=False)
class Block:
    """Items of one request that share their parameters: the unit that travels.

    rows [k], their places in the request, ascending; seeds [k]; columns [k, ...]; `shared` arrays, which all items have
    in common; work [k], the evaluations that each item needs. Raises ValueError for columns of unequal length.
    """

    parameters: Parameters
    rows: Integers
    seeds: Integers
    work: Floats
    columns: Columns = field(default_factory=dict)
    shared: Arrays = field(default_factory=dict)

    def __post_init__(self) -> None:
        rows = len(self.rows)
        for column in (self.seeds, self.work, *self.columns.values()):
            if len(column) != rows:
                raise ValueError(f"a column of {len(column)} items in a block of {rows}")

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, where: slice) -> "Block":
        """These items alone; the columns are views."""
        if where.start == 0 and where.stop == len(self):
            return self
        rows, seeds, work = self.rows[where], self.seeds[where], self.work[where]
        return Block(self.parameters, rows, seeds, work, select(self.columns, where), self.shared)

    def positions(self, rows: Integers) -> Integers:
        """Where these rows of the request stand in the block."""
        found: Integers = np.searchsorted(self.rows, rows)
        return found


@dataclass(frozen=True)
class Job:
    """One request, or a part of it, on the queue. `deadline` is in seconds since the epoch; `weight` is the tenant's
    share of the device.

    A `detached` job outlives its requester. `request` is what its answer is made from later: it is kept with the job,
    and the broker does not look inside. Raises ValueError for a block of no item, or of more than MAX_JOB_ROWS.
    """

    id: str
    model: ModelRef
    operation: str
    block: Block
    predicted_seconds: float
    stream: bool = False
    deadline: float | None = None
    priority: Priority = "normal"
    tenant: str = "anonymous"
    weight: float = 1.0
    idempotency_key: str | None = None
    body_sha256: str = ""
    detached: bool = False
    request: bytes = b""
    format: int = 1

    def __post_init__(self) -> None:
        if not 1 <= len(self.block) <= MAX_JOB_ROWS:
            raise ValueError(f"a block of {len(self.block)} items, 1 to {MAX_JOB_ROWS} fit in a job")

    def emptied(self) -> "Job":
        """The same without parameters, and without what its rows bring: what is kept of a job that has ended."""
        block = self.block
        job = object.__new__(Job)  # not dataclasses.replace, which checks every field again, for every job
        vars(job).update(vars(self), block=Block(NO_PARAMETERS, block.rows, block.seeds, block.work), request=b"")
        return job

    @cached_property
    def work(self) -> float:
        return float(self.block.work.sum())


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


@dataclass(eq=False, slots=True)
class Events:
    """One step of the answers of some rows of a job, or their ends. An event's identity is (row, step): a re-run emits
    the same ones, in whatever ranges, and what was published is published once. A row's steps only rise.

    rows [k] as in the block; steps [k]; columns [k, ...]. `kind` is "done" with the result, "failed" with `failure`.
    The worker adds: compute_ms [k], the device time of the steps that a row took part in so far; progress [k], the part
    of its work that is done, in [0, 1]; `scope`, where it ran: answers are exact within one scope.
    """

    job_id: str
    kind: Literal["step", "done", "failed"]
    rows: Integers
    steps: Integers
    columns: Columns = field(default_factory=dict)
    failure: Failure | None = None
    compute_ms: Floats = field(default_factory=lambda: np.empty(0))
    progress: Floats = field(default_factory=lambda: np.empty(0))
    scope: str = ""

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def terminal(self) -> bool:
        return self.kind != "step"

    def select(self, where: slice | Array) -> "Events":
        """The events of these rows alone."""
        timed = bool(len(self.compute_ms))
        return Events(
            self.job_id,
            self.kind,
            self.rows[where],
            self.steps[where],
            select(self.columns, where),
            self.failure,
            self.compute_ms[where] if timed else self.compute_ms,
            self.progress[where] if timed else self.progress,
            self.scope,
        )


def failed(job_id: str, rows: Integers, failure: Failure) -> Events:
    """The end of these rows without a result."""
    return Events(job_id, "failed", rows, np.full(len(rows), FAILED_STEP), failure=failure)


def block_of(parameters: Parameters, rows: int, **columns: Array) -> Block:
    """A block of the items 0, ..., rows - 1 with their places as seeds, one evaluation each."""
    return Block(parameters, np.arange(rows), np.arange(rows), np.ones(rows), columns)


Kinds = Mapping[str, type[Parameters]]
"""The kinds of session by the name that messages have for them: that of the class."""
