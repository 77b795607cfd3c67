"""A job that a worker holds: which of its rows are resident, and which still wait. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import attrgetter

import numpy as np

from model_store.store import ModelRef
from service.costs import CostCurve
from service.jobs import Block, Job, Lease, Parameters, Range

SessionKey = tuple[ModelRef, type[Parameters]]
# A large job counts as a sixteenth of a step in what a worker holds: several of them run side by side.
LARGE_JOB_STEPS = 1.0 / 16.0


@dataclass(frozen=True)
class SessionLimits:
    """How much may be resident, in the session's own unit, and what a step of n rows costs."""

    capacity: int
    curve: CostCurve

    def rows_per_step(self, max_step_seconds: float, need: int = 1) -> int:
        """As many rows, which take `need` of the capacity each, as fit in `max_step_seconds`, one at least."""
        most = max(1, self.capacity // need)
        spare = max_step_seconds - self.curve.base_seconds
        if spare >= most * self.curve.seconds_per_row:
            return most
        return max(1, int(spare / self.curve.seconds_per_row))


@dataclass(eq=False)
class Place:
    """A registered session, and how much of its capacity is used. One that is not `awake` runs no step.

    `step_rows` is what time allows a step, in rows of one evaluation; `usual_rows`, what the capacity allows too, for
    rows as the latest job has.
    """

    key: SessionKey
    limits: SessionLimits
    step_rows: int
    usual_rows: int
    used: int = 0
    awake: bool = True

    @property
    def free(self) -> int:
        return self.limits.capacity - self.used


@dataclass(eq=False)
class FairShare:
    """What the jobs of one tenant and class on one session share; `served` is device seconds over the weight."""

    weight: float
    served: float = 0.0
    jobs: int = 0


@dataclass(eq=False, slots=True)
class Span:
    """Consecutive resident rows that were charged the same evaluations; `least_work` is the smallest of their work."""

    start: int
    stop: int
    least_work: float
    charged: int = 0

    @property
    def remaining(self) -> float:
        return self.least_work - self.charged


@dataclass(eq=False)
class Held:
    """A job of `rows` rows, with its spans of resident ones, ascending; those from `waits_from` on wait.

    A row takes `need` of the session's capacity, and `step_evaluations` of a step, which has room for `step_rows`.
    """

    lease: Lease
    order: int
    place: Place
    fair_share: FairShare
    rows: int
    need: int
    step_rows: int
    stepped_at: float
    remaining_work: float
    waits_from: int = 0
    resident_rows: int = 0
    spans: list[Span] = field(default_factory=list)
    step_evaluations: int = field(init=False)

    def __post_init__(self) -> None:
        self.step_evaluations = self.block.parameters.step_evaluations

    @property
    def job(self) -> Job:
        return self.lease.job

    @property
    def block(self) -> Block:
        return self.lease.job.block

    @property
    def started(self) -> bool:
        return self.waits_from > 0

    @property
    def waiting_rows(self) -> int:
        return self.rows - self.waits_from

    @property
    def unfinished_rows(self) -> int:
        return self.resident_rows + self.rows - self.waits_from

    @property
    def step_share(self) -> float:
        """Of a step, in what the worker holds."""
        evaluations = self.unfinished_rows * self.step_evaluations
        share = evaluations / self.step_rows
        ends_next = self.remaining_work <= evaluations and share <= 1.0
        return share if ends_next else min(share, LARGE_JOB_STEPS)

    def resident(self) -> list[Range]:
        """The rows that are resident."""
        return [Range(self.job.id, span.start, span.stop) for span in self.spans]

    def unfinished(self) -> list[Range]:
        """The rows that have not ended."""
        waiting = [Range(self.job.id, self.waits_from, self.rows)] if self.waiting_rows else []
        return self.resident() + waiting

    def choose(self, rows: int) -> list[Range]:
        """So many resident rows at most: those with the least remaining work, in ascending order."""
        if self.resident_rows <= rows:
            return self.resident()
        chosen = []
        for span in sorted(self.spans, key=attrgetter("remaining", "start")):
            stop = min(span.stop, span.start + rows)
            rows -= stop - span.start
            chosen.append(Range(self.job.id, span.start, stop))
            if not rows:
                break
        return sorted(chosen)

    def enter(self, rows: int) -> Range:
        """So many of the waiting rows become resident."""
        start, stop = self.waits_from, self.waits_from + rows
        self.spans.append(Span(start, stop, self._least_work(start, stop)))
        self.waits_from = stop
        self.resident_rows += rows
        self.place.used += rows * self.need
        return Range(self.job.id, start, stop)

    def charge(self, start: int, stop: int) -> None:
        """These resident rows have advanced by one step."""
        for span in self._cut(start, stop):
            span.charged += self.step_evaluations
        if len(self.spans) > 1:
            self.spans = _merge(self.spans)
        self.remaining_work = max(0.0, self.remaining_work - (stop - start) * self.step_evaluations)

    def end(self, start: int, stop: int) -> None:
        """These resident rows have ended; work that they no longer need is not waited for."""
        for span in self._cut(start, stop):
            self.spans.remove(span)
            unneeded = np.maximum(self.block.work[span.start : span.stop] - span.charged, 0.0)
            self.remaining_work = max(0.0, self.remaining_work - float(unneeded.sum()))
        self.resident_rows -= stop - start
        self.place.used -= (stop - start) * self.need

    def _cut(self, start: int, stop: int) -> list[Span]:
        """The spans of exactly these rows; those that reach beyond them are divided."""
        if len(self.spans) == 1 and self.spans[0].start == start and self.spans[0].stop == stop:
            return self.spans[:]
        for bound in (start, stop):
            self.spans = [piece for span in self.spans for piece in self._divide(span, bound)]
        return [span for span in self.spans if start <= span.start < stop]

    def _divide(self, span: Span, bound: int) -> list[Span]:
        if not span.start < bound < span.stop:
            return [span]
        halves = ((span.start, bound), (bound, span.stop))
        return [Span(start, stop, self._least_work(start, stop), span.charged) for start, stop in halves]

    def _least_work(self, start: int, stop: int) -> float:
        work = self.block.work
        return float(work[start]) if stop - start == 1 else float(work[start:stop].min())


def _merge(spans: Sequence[Span]) -> list[Span]:
    """Neighbours that were charged the same evaluations, as one span."""
    merged = [spans[0]]
    for span in spans[1:]:
        last = merged[-1]
        if last.stop == span.start and last.charged == span.charged:
            merged[-1] = Span(last.start, span.stop, min(last.least_work, span.least_work), span.charged)
        else:
            merged.append(span)
    return merged
