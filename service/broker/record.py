"""A job's record: its state, its fence and the events that were published, each once."""

from asyncio import Future
from collections.abc import Iterable
from dataclasses import dataclass, field

from service.broker.base import JobStatus, State
from service.broker.fair import Ticket
from service.jobs import Event, Failure, Job, Lease

# A failure's event is no step: its index lies beyond that of any step of the row.
GIVEN_UP = 2**31


@dataclass(eq=False)
class Record:
    """What the broker knows of one job. Pure: time and order are the broker's."""

    job: Job
    order: int
    ticket: Ticket
    state: State = "queued"
    token: int = 0
    attempts: int = 0
    leased_until: float = 0.0
    finished_at: float = 0.0
    events: list[Event] = field(default_factory=list)
    ends: dict[int, Event] = field(default_factory=dict)
    waiters: list["Future[None]"] = field(default_factory=list)
    _step_ids: set[tuple[int, int]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.rows = len(self.job.rows)

    @property
    def alive(self) -> bool:
        return self.state in ("queued", "running")

    @property
    def size_bytes(self) -> int:
        return sum(array.nbytes for event in self.events for array in event.arrays.values())

    def begin(self, leased_until: float) -> Lease:
        """A new attempt: the fence rises."""
        self.state, self.leased_until = "running", leased_until
        self.token += 1
        self.attempts += 1
        return Lease(self.job, self.token, self.attempts)

    def hand_back(self) -> None:
        """Back to the queue; the attempt does not count and its lease is void."""
        self.state = "queued"
        self.token += 1
        self.attempts -= 1

    def holds(self, lease: Lease) -> bool:
        """True where the lease is the newest and the job still runs."""
        return self.state == "running" and self.token == lease.token

    def publish(self, events: Iterable[Event]) -> bool:
        """Append what is new: a row's steps by id, its end once. True where every row has ended."""
        for event in events:
            if event.row in self.ends:
                continue
            if event.terminal:
                self.ends[event.row] = event
            elif (step := (event.row, event.index)) in self._step_ids:
                continue
            else:
                self._step_ids.add(step)
            self.events.append(event)
        return len(self.ends) == self.rows

    def end(self, state: State, failure: Failure) -> None:
        """Every row that has not ended fails; old leases are void."""
        self.state = state
        self.token += 1
        self.publish(
            Event(self.job.id, row.index, GIVEN_UP, "failed", error=failure)
            for row in self.job.rows
            if row.index not in self.ends
        )

    def after(self, event_id: str | None) -> int:
        """The position behind the event with this id: 0 where it is not known, so that nothing is missed."""
        ids = [event.id for event in self.events] if event_id is not None else []
        return ids.index(event_id) + 1 if event_id in ids else 0

    def status(self, position: int | None) -> JobStatus:
        error = next((event.error for event in self.events if event.error), None)
        failed = self.state in ("failed", "cancelled", "expired")
        return JobStatus(self.job.id, self.state, self.rows, len(self.ends), position, error if failed else None)
