"""Jobs as their client sees them, and the queue as its operator sees it."""

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field

from fivefold.operation import ItemError, Wire

JobState = Literal["queued", "running", "done", "failed", "cancelled", "expired"]


class JobDocument(Wire):
    """A request that was asked for with `Prefer: respond-async`.

    `progress` is the part of its work that is done; `position`, the number of jobs before it, and `start_in_seconds`,
    by the measured cost of those, are there while it is queued. Once it has ended it has either the `result`, which is
    the very answer of the synchronous call, or an `error`; "failed" means that no item succeeded.
    """

    id: str
    operation: str
    model: str
    state: JobState
    rows: int
    rows_finished: int
    progress: Annotated[float, Field(ge=0, le=1)]
    position: int | None = None
    start_in_seconds: float | None = None
    submitted_at: AwareDatetime
    ended_at: AwareDatetime | None = None
    error: ItemError | None = None
    result: dict[str, Any] | None = None

    @property
    def ended(self) -> bool:
        return self.state not in ("queued", "running")


class JobPage(Wire):
    """Jobs without their results, newest first. `next` is the `cursor` of the next page; None on the last."""

    jobs: list[JobDocument]
    next: str | None = None


class ModelDepth(Wire):
    """A model's queue; `predicted_seconds` is what its waiting and running jobs need by the measured cost curves."""

    model: str
    waiting_jobs: int
    running_jobs: int
    predicted_seconds: float


class WorkerDocument(Wire):
    """A worker by its last heartbeat. Answers are exact among workers of equal `scope`."""

    id: str
    device: str
    scope: str
    models: list[str]
    rows_run: int
    seconds_since_heartbeat: float


class QueueDocument(Wire):
    """Every model that is served or waited for, every worker, and how many jobs were given up."""

    models: list[ModelDepth]
    workers: list[WorkerDocument]
    dead_jobs: int


class DeadJobDocument(Wire):
    """A job that was given up after its attempts, and why."""

    id: str
    model: str
    operation: str
    tenant: str
    rows: int
    attempts: int
    reason: str


class DeadJobList(Wire):
    """Every job that was given up, as far back as the queue remembers."""

    jobs: list[DeadJobDocument]


class ControlDocument(Wire):
    """What the workers with these ids were asked to do. They obey between two steps."""

    action: Literal["load", "unload", "drain"]
    model: str | None = None
    workers: list[str]


class AliasRequest(Wire):
    """Let `alias` mean `version`; "default" is the alias that a bare name means."""

    alias: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")
    version: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")


class AliasDocument(AliasRequest):
    """The alias as every replica of the API soon knows it."""

    model: str
