"""One model's part of the queue: what waits, what runs, how fast it drains, and when it is full."""

from service.broker.admission import full_of_jobs, full_of_work, too_late
from service.broker.base import Depth, Limits
from service.broker.fair import FairQueue, Ticket
from service.jobs import Job


class ModelQueue:
    """Bounded by predicted work and by number of jobs."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.ready = FairQueue(limits.class_weights)
        self.drain = DrainRate()
        self.running: dict[str, float] = {}

    @property
    def depth(self) -> Depth:
        return Depth(len(self.ready), len(self.running), self.ready.predicted_seconds + sum(self.running.values()))

    def admit(self, job: Job, now: float) -> None:
        """Raises QueueFull, and InvalidInput for a deadline that an empty queue would miss.

        A job that would wait alone is admitted, however large.
        """
        limits, waiting, seconds = self.limits, len(self.ready), self.ready.predicted_seconds
        if waiting and seconds + job.predicted_seconds > limits.max_queue_seconds:
            raise full_of_work(seconds, job.predicted_seconds, limits.max_queue_seconds, self.drain.value)
        if waiting >= limits.max_queued_jobs:
            raise full_of_jobs(waiting, seconds, limits.max_queued_jobs, self.drain.value)
        if job.deadline is not None:
            ahead_seconds = self.ready.seconds_before(self.ready.finish_of(job)) / self.drain.value
            if now + ahead_seconds + job.predicted_seconds > job.deadline:
                raise too_late(ahead_seconds, job.predicted_seconds, job.deadline - now)

    def start_in_seconds(self, ticket: Ticket) -> float:
        """When a queued job's turn comes, by what is before it and the measured drain rate."""
        return self.ready.seconds_before(ticket.finish) / self.drain.value

    def begin(self, job: Job, now: float) -> None:
        """A worker has taken the job."""
        if not self.running:
            self.drain.begin(now)
        self.running[job.id] = job.predicted_seconds


class DrainRate:
    """Predicted seconds that workers finish per second of wall time while they have work; 1 before any measurement.

    An exponentially weighted mean with a half-life of 10 s. Idle time does not count.
    """

    half_life_seconds = 10.0

    def __init__(self) -> None:
        self._mark = 0.0
        self._predicted = self._elapsed = 0.0

    def begin(self, now: float) -> None:
        """Work starts after idleness."""
        self._mark = now

    def finish(self, predicted_seconds: float, now: float) -> None:
        elapsed = max(0.0, now - self._mark)
        decay = 0.5 ** (elapsed / self.half_life_seconds)
        self._predicted = self._predicted * decay + predicted_seconds
        self._elapsed = self._elapsed * decay + elapsed
        self._mark = now

    @property
    def value(self) -> float:
        return self._predicted / self._elapsed if self._predicted > 0.0 and self._elapsed > 0.0 else 1.0
