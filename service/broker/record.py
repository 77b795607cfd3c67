"""A job's record: its state, its fence and the events that were published, each once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from service.arrays import size_bytes
from service.broker.base import JobStatus, State
from service.broker.fair import Ticket
from service.broker.model_queue import ModelQueue
from service.broker.publication import Publication
from service.jobs import Block, Events, Failure, Job, Lease, failed

EVENT_BYTES = 32  # of a row in Events, beside its columns: row, step, compute_ms, progress


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
    events: list[Events] = field(default_factory=list)
    detached: bool = field(init=False)
    request: bytes = field(init=False)
    _published: Publication = field(init=False)
    _succeeded: bool = False

    def __post_init__(self) -> None:
        self.detached, self.request = self.job.detached, self.job.request
        self._published = Publication(self.job.block.rows)

    @property
    def alive(self) -> bool:
        return self.state in ("queued", "running")

    @property
    def ends(self) -> Sequence[Events]:
        return [one for one in self.events if one.terminal]

    @property
    def size_bytes(self) -> int:
        """Of what is kept of an ended job."""
        held = sum(size_bytes(one.columns) + EVENT_BYTES * len(one) for one in self.events)
        return held + self.job.block.rows.nbytes + len(self.request)

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

    def publish(self, events: Iterable[Events]) -> bool:
        """Append what is new. True where every row has ended."""
        for one in events:
            if (new := self._published.add(one)) is not None:
                self.events.append(new)
                self._succeeded = self._succeeded or new.kind == "done"
        return self._published.complete

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
            error=next((one.failure for one in self.events if one.failure), None) if unsuccessful else None,
        )

    def _end(self, state: State) -> None:
        """Of what was asked, only the rows' names are kept: no worker needs the rest any more."""
        block = self.job.block
        nothing = np.broadcast_to(0.0, len(block))
        self.state = state
        self.job = replace(self.job, block=Block(block.parameters, block.rows, block.rows, nothing), request=b"")
