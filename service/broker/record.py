"""A job's record: its state, its fence and the events that were published, each once."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain

from service.broker.base import JobStatus, State
from service.broker.fair import Ticket
from service.broker.model_queue import ModelQueue
from service.jobs import Event, Failure, Job, Lease

# A failure's event is no step: its index lies beyond that of any step of the row.
GIVEN_UP = 2**31


@dataclass(eq=False)
class Record:
    """What the broker knows of one job. Pure: time and order are the broker's."""

    job: Job
    queue: ModelQueue
    ticket: Ticket
    order: int
    submitted_at: float
    state: State = "queued"
    token: int = 0
    attempts: int = 0
    leased_until: float = 0.0
    ended_at: float = 0.0
    events: list[Event] = field(default_factory=list)
    detached: bool = field(init=False)
    request: bytes = field(init=False)
    _ends: dict[int, Event] = field(default_factory=dict)
    _steps: set[tuple[int, int]] = field(default_factory=set)
    _progress: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.detached, self.request = self.job.detached, self.job.request

    @property
    def alive(self) -> bool:
        return self.state in ("queued", "running")

    @property
    def size_bytes(self) -> int:
        """Of the arrays that came and went; they do not change once the job has ended."""
        parts = chain((row.arrays for row in self.job.rows), (event.arrays for event in self.events))
        return sum(array.nbytes for arrays in parts for array in arrays.values())

    def join(self, job: Job) -> None:
        """The same was asked again: what either wants is kept."""
        self.detached = self.detached or job.detached
        self.request = self.request or job.request

    def begin(self, token: int) -> Lease:
        """A new attempt. Tokens only rise, so that older leases are void."""
        self.state, self.token = "running", token
        self.attempts += 1
        return Lease(self.job, self.token, self.attempts)

    def hand_back(self) -> None:
        """Back to the queue; the attempt does not count and its lease is void."""
        self.state = "queued"
        self.attempts -= 1

    def holds(self, lease: Lease) -> bool:
        """True where the lease is the newest and the job still runs."""
        return self.state == "running" and self.token == lease.token

    def publish(self, events: Iterable[Event]) -> bool:
        """Append what is new: a row's steps by id, its end once. True where every row has ended."""
        for event in events:
            if event.row in self._ends:
                continue
            if event.terminal:
                self._ends[event.row] = event
            elif (step := (event.row, event.index)) in self._steps:
                continue
            else:
                self._steps.add(step)
            self.events.append(event)
            self._progress[event.row] = 1.0 if event.terminal else event.progress
        return len(self._ends) == len(self.job.rows)

    def finish(self) -> None:
        """Every row has ended: the job is done if any of them is."""
        self.state = "done" if any(end.kind == "done" for end in self._ends.values()) else "failed"

    def end(self, state: State, failure: Failure) -> None:
        """Every row that has not ended fails."""
        self.state = state
        self.publish(
            Event(self.job.id, row.index, GIVEN_UP, "failed", error=failure)
            for row in self.job.rows
            if row.index not in self._ends
        )

    def status(self) -> JobStatus:
        queued, ended = self.state == "queued", self.state in ("failed", "cancelled", "expired")
        return JobStatus(
            id=self.job.id,
            operation=self.job.operation,
            state=self.state,
            rows=len(self.job.rows),
            rows_finished=len(self._ends),
            progress=sum(self._progress.values()) / len(self.job.rows),
            submitted_at=self.submitted_at,
            ended_at=None if self.alive else self.ended_at,
            position=self.queue.ready.position(self.job.id) if queued else None,
            start_in_seconds=self.queue.start_in_seconds(self.ticket) if queued else None,
            error=next((event.error for event in self.events if event.error), None) if ended else None,
        )
