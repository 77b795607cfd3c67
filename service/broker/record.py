"""A job's record: its state, its fence and the events that were published, each once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from service.broker.base import JobStatus, State
from service.broker.fair import Ticket
from service.broker.model_queue import ModelQueue
from service.broker.publication import Publication
from service.broker.weight import PLACE_BYTES, columns_bytes, events_bytes
from service.jobs import Events, Failure, Job, Lease, failed


@dataclass(eq=False)
class Record:
    """What the broker knows of one job. Pure: time and order are the broker's.

    `held_bytes` is what all of it weighs, `step_bytes` the part of the steps. A step that is gone is None in `events`.
    """

    job: Job
    queue: ModelQueue
    ticket: Ticket
    order: int
    submitted_at: float
    held_bytes: int
    state: State = "queued"
    token: int = 0
    attempts: int = 0
    leased_until: float = 0.0
    ended_at: float = 0.0
    step_bytes: int = 0
    events: list[Events | None] = field(default_factory=list)
    detached: bool = field(init=False)
    request: bytes = field(init=False)
    _published: Publication = field(init=False)
    _succeeded: bool = False
    _dropped: int = 0

    def __post_init__(self) -> None:
        self.detached, self.request = self.job.detached, self.job.request
        self._published = Publication(self.job.block.rows)

    @property
    def alive(self) -> bool:
        return self.state in ("queued", "running")

    @property
    def ends(self) -> Sequence[Events]:
        return [one for one in self.events if one is not None and one.terminal]

    def join(self, job: Job) -> None:
        """The same was asked again: what either wants is kept."""
        self.detached = self.detached or job.detached
        if not self.request:
            self.request = job.request
            self.held_bytes += len(job.request)

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

    def publish(self, events: Iterable[Events]) -> bool:
        """Append what is new. True where every row has ended."""
        for one in events:
            if (new := self._published.add(one)) is not None:
                self.events.append(new)
                size_bytes = events_bytes(new)
                self.held_bytes += size_bytes
                self.step_bytes += 0 if new.terminal else size_bytes
                self._succeeded = self._succeeded or new.kind == "done"
        return self._published.complete

    def drop_steps(self, excess_bytes: int) -> None:
        """Let the oldest steps go: so many bytes of them, as far as there are steps."""
        while excess_bytes > 0 and self.step_bytes > 0:
            one = self.events[self._dropped]
            if one is not None and not one.terminal:
                size_bytes = events_bytes(one)
                self.events[self._dropped] = None
                self.step_bytes -= size_bytes
                self.held_bytes -= size_bytes - PLACE_BYTES
                excess_bytes -= size_bytes
            self._dropped += 1

    def finish(self) -> None:
        """Every row has ended: the job is done if any of them is."""
        self._end("done" if self._succeeded else "failed")

    def end(self, state: State, failure: Failure) -> None:
        """Every row that has not ended fails."""
        self.publish([failed(self.job.id, self._published.unfinished(), failure)])
        self._end(state)

    def status(self) -> JobStatus:
        queued, unsuccessful = self.state == "queued", self.state in ("failed", "cancelled", "expired")
        return JobStatus(
            id=self.job.id,
            operation=self.job.operation,
            state=self.state,
            rows=len(self.job.block),
            rows_finished=self._published.finished,
            progress=self._published.progress,
            submitted_at=self.submitted_at,
            ended_at=None if self.alive else self.ended_at,
            position=self.queue.ready.position(self.job.id) if queued else None,
            start_in_seconds=self.queue.start_in_seconds(self.ticket) if queued else None,
            error=next((one.failure for one in self.ends if one.failure), None) if unsuccessful else None,
        )

    def _end(self, state: State) -> None:
        """Of what was asked, only the rows' names are kept: no worker needs the rest any more."""
        self.held_bytes -= columns_bytes(self.job.block.columns) + columns_bytes(self.job.block.shared)
        self.state, self.job = state, self.job.emptied()
