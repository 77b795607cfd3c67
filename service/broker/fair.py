"""The order of a queue: virtual finish times share the device by weight among tenants and classes."""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass

from service.jobs import Job

ShareKey = tuple[str, str]


@dataclass(frozen=True)
class Ticket:
    """A queued job's place: ordered by virtual finish time, then by arrival."""

    finish: float
    order: int
    share_key: ShareKey
    predicted_seconds: float
    share: float


class FairQueue:
    """Queued job ids by F = max(V, F of the last job of its share) + predicted_seconds / weight of tenant and class.

    A share is that of a tenant and a class. V is the virtual start of the job that began last (start-time fair
    queueing, Goyal et al. 1997): a share that was away joins at V and is owed nothing for its absence.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        self.weights = weights
        self.predicted_seconds = 0.0
        self._virtual_time = 0.0
        self._last_finish: dict[ShareKey, float] = {}
        self._tickets: dict[str, Ticket] = {}
        self._heap: list[tuple[float, int, str]] = []
        self._arrivals = 0

    def __len__(self) -> int:
        return len(self._tickets)

    def push(self, job: Job) -> Ticket:
        """Queue a job behind those of its tenant and class."""
        finish = self.finish_of(job)
        key = job.tenant, job.priority
        self._last_finish[key] = finish
        self._arrivals += 1
        return self.put_back(job.id, Ticket(finish, self._arrivals, key, job.predicted_seconds, self._share(job)))

    def finish_of(self, job: Job) -> float:
        """The virtual finish time that this job would have."""
        return max(self._virtual_time, self._last_finish.get((job.tenant, job.priority), 0.0)) + self._share(job)

    def seconds_before(self, finish: float) -> float:
        """Predicted seconds of the jobs that go before one of this virtual finish time."""
        return sum(ticket.predicted_seconds for ticket in self._tickets.values() if ticket.finish < finish)

    def put_back(self, job_id: str, ticket: Ticket) -> Ticket:
        """Queue a job in the place it had."""
        self._tickets[job_id] = ticket
        self.predicted_seconds += ticket.predicted_seconds
        heapq.heappush(self._heap, (ticket.finish, ticket.order, job_id))
        return ticket

    def first(self) -> str | None:
        """The id of the job that is next."""
        while self._heap and not self._holds(self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][2] if self._heap else None

    def begin(self, job_id: str) -> None:
        """The job leaves the queue for a worker: virtual time moves on."""
        ticket = self._leave(job_id)
        self._virtual_time = max(self._virtual_time, ticket.finish - ticket.share)
        if len(self._last_finish) > 2 * len(self._tickets) + 16:
            self._last_finish = {key: last for key, last in self._last_finish.items() if last > self._virtual_time}

    def remove(self, job_id: str) -> None:
        """The job leaves the queue for good: its share gets the work back."""
        ticket = self._leave(job_id)
        if ticket.share_key in self._last_finish:
            self._last_finish[ticket.share_key] -= ticket.share

    def position(self, job_id: str) -> int:
        """How many jobs are before this one."""
        own = self._tickets[job_id]
        return sum((other.finish, other.order) < (own.finish, own.order) for other in self._tickets.values())

    def _share(self, job: Job) -> float:
        return job.predicted_seconds / (self.weights[job.priority] * job.weight)

    def _leave(self, job_id: str) -> Ticket:
        ticket = self._tickets.pop(job_id)
        self.predicted_seconds -= ticket.predicted_seconds
        if not self._tickets:  # the busy period is over: nobody owes anything, and rounding errors are forgotten
            self.predicted_seconds = 0.0
            self._last_finish.clear()
        if len(self._heap) > 2 * len(self._tickets) + 64:
            self._heap = [entry for entry in self._heap if self._holds(entry)]
            heapq.heapify(self._heap)
        return ticket

    def _holds(self, entry: tuple[float, int, str]) -> bool:
        ticket = self._tickets.get(entry[2])
        return ticket is not None and ticket.order == entry[1]
