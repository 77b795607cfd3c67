"""One model's part of the queue: what waits, what runs, how fast it drains, and when it is full."""

from fivefold.errors import QueueFull
from service.broker.base import Depth, Limits
from service.broker.fair import FairQueue
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

    def admit(self, job: Job) -> None:
        """Raises QueueFull. A job that would wait alone is always admitted, however large."""
        limits, waiting = self.limits, len(self.ready)
        if not waiting:
            return
        excess_seconds = self.ready.predicted_seconds + job.predicted_seconds - limits.max_queue_seconds
        if excess_seconds > 0.0:
            raise self._full(
                f"{self.ready.predicted_seconds:.1f} s of work are queued and this request needs "
                f"{job.predicted_seconds:.1f} s, the queue holds {limits.max_queue_seconds:g} s",
                excess_seconds,
            )
        if waiting >= limits.max_queued_jobs:
            raise self._full(
                f"{waiting} jobs are queued, the queue holds {limits.max_queued_jobs}",
                self.ready.predicted_seconds / waiting,
            )

    def begin(self, job: Job, now: float) -> None:
        """A worker has taken the job."""
        if not self.running:
            self.drain.begin(now)
        self.running[job.id] = job.predicted_seconds

    def _full(self, reason: str, excess_seconds: float) -> QueueFull:
        retry_after_s = max(1.0, excess_seconds / self.drain.value)
        return QueueFull(f"{reason}: come back in {retry_after_s:.0f} s", retry_after_s=retry_after_s)


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
