"""Which session steps next, and with which rows. Pure: no clock, no I/O, no tensors."""

from collections.abc import Iterable, Mapping, Sequence
from math import fsum, inf
from typing import NamedTuple

from service.jobs import Block, Job, Lease, Priority, Range
from service.worker.held import FairShare, Held, Place, SessionKey, SessionLimits

ShareKey = tuple[SessionKey, str, Priority]

# A job that has waited for as many full steps goes first, whatever its weight: nothing starves.
PATIENCE_STEPS = 100
# How much a worker holds: enough for the next step while this one runs.
HELD_STEPS = 2.0


class Step(NamedTuple):
    """What to run next: rows of one session, a job's ranges ascending. `entering` are those not resident yet."""

    session: SessionKey
    ranges: list[Range]
    entering: list[tuple[Range, Block]]


class Scheduler:
    """Chooses steps: jobs that have waited too long, urgent deadlines, fair shares, then the least remaining work.

    A fair share belongs to a session, a tenant and a class; each is served device seconds in proportion to the weights
    of both (start-time fair queueing, Goyal et al. 1997). Same calls, same answers.
    """

    def __init__(self, max_step_ms: float, class_weights: Mapping[Priority, float]) -> None:
        self.max_step_seconds = max_step_ms / 1000.0
        self.weights = class_weights
        self._places: dict[SessionKey, Place] = {}
        self._held: dict[str, Held] = {}
        self._shares: dict[ShareKey, FairShare] = {}
        self._virtual_time = 0.0
        self._arrivals = 0

    def register(self, session: SessionKey, limits: SessionLimits) -> None:
        """Make a session known before its first job, or awake again."""
        rows = limits.rows_per_step(self.max_step_seconds)
        self._places[session] = Place(session, limits, rows, rows)

    def suspend(self, session: SessionKey) -> None:
        """Keep the jobs of a session that has none resident until it is registered again and they are added anew."""
        self._places[session].awake = False

    def forget(self, session: SessionKey) -> None:
        """Forget a session that has no job left."""
        del self._places[session]

    def knows(self, session: SessionKey) -> bool:
        return session in self._places

    def add(self, lease: Lease, now: float, need: int = 1) -> None:
        """Take a job in, each row of which needs so much of its session's capacity. The session must be registered."""
        job = lease.job
        session = job.model, type(job.block.parameters)
        place = self._places[session]
        share = self._share(session, job)
        share.jobs += 1
        self._arrivals += 1
        place.usual_rows = place.limits.rows_per_step(self.max_step_seconds, need)
        rows = len(job.block)
        self._held[job.id] = Held(lease, self._arrivals, place, share, rows, need, place.usual_rows, now, job.work)

    def expire(self, now: float) -> list[Held]:
        """Jobs whose deadline has passed; they are gone from here."""
        passed = [held for held in self._held.values() if held.job.deadline is not None and held.job.deadline <= now]
        return [self._leave(held) for held in passed]

    def cancel(self, job_id: str) -> Held | None:
        """Let a job go, if it is here."""
        held = self._held.get(job_id)
        return None if held is None else self._leave(held)

    def next_step(self, now: float) -> Step | None:
        """The next step. Its rows are resident from now on."""
        runnable = [held for held in self._held.values() if held.place.awake]
        if not runnable:
            return None
        runnable.sort(key=lambda held: self._rank(held, now))
        place = runnable[0].place
        self._virtual_time = max(self._virtual_time, min(held.fair_share.served for held in runnable))
        return self._fill(place, (held for held in runnable if held.place is place), now)

    def charge(self, ranges: Sequence[Range]) -> None:
        """These rows have advanced by one step."""
        evaluations = sum((stop - start) * self._held[job_id].step_evaluations for job_id, start, stop in ranges)
        if not evaluations:
            return
        seconds_each = self._held[ranges[0].job_id].place.limits.curve.seconds(evaluations) / evaluations
        for job_id, start, stop in ranges:
            held = self._held[job_id]
            held.charge(start, stop)
            seconds = (stop - start) * held.step_evaluations * seconds_each
            held.fair_share.served += seconds / held.fair_share.weight

    def end(self, ranges: Iterable[Range]) -> None:
        """These resident rows are done or failed; a job leaves with its last row."""
        for job_id, start, stop in ranges:
            held = self._held[job_id]
            if stop - start == held.unfinished_rows:
                self._leave(held)
            else:
                held.end(start, stop)

    @property
    def runnable(self) -> bool:
        """True where `next_step` has a step."""
        return any(held.place.awake for held in self._held.values())

    def lease(self, job_id: str) -> Lease:
        """The lease of a job that is here."""
        return self._held[job_id].lease

    def holds(self, lease: Lease) -> bool:
        """True where the job is here by this lease, not by a newer one."""
        held = self._held.get(lease.job.id)
        return held is not None and held.lease.token == lease.token

    def held(self) -> list[Held]:
        """Every job that is here, oldest first."""
        return list(self._held.values())

    def spare_seconds(self) -> float:
        """Predicted seconds of further jobs that are worth holding: two full steps, less what is here.

        A job that ends with its next step counts as its share of the step: more of them would only be kept from workers
        that have nothing. What stays longer counts as a sixteenth at most, so that several large jobs live side by
        side. A full step is predicted as so many jobs of one row, on the session where that takes the least time.
        Jobs of a session that does not run yet do not count.
        """
        share = fsum(held.step_share for held in self._held.values() if held.place.awake)
        full_steps = (place.usual_rows * place.limits.curve.seconds(1.0) for place in self._places.values())
        return (HELD_STEPS - share) * min(full_steps, default=0.0)

    def _rank(self, held: Held, now: float) -> tuple[float, ...]:
        """Lower goes first. The order of arrival makes every rank different."""
        deadline = held.job.deadline if held.job.deadline is not None else inf
        fair = held.fair_share.served, held.remaining_work, deadline, held.order
        if now - held.stepped_at >= PATIENCE_STEPS * self.max_step_seconds:
            return 0.0, held.stepped_at, *fair
        if deadline < inf and deadline - now <= 2.0 * self._seconds(held) + self.max_step_seconds:
            return 1.0, deadline, *fair
        return 2.0, 0.0, *fair

    def _seconds(self, held: Held) -> float:
        return held.place.limits.curve.seconds(held.remaining_work)

    def _share(self, session: SessionKey, job: Job) -> FairShare:
        """The job's share; one that was away joins at the virtual time and is owed nothing for its absence."""
        key = session, job.tenant, job.priority
        share = self._shares.get(key)
        if share is None:
            if len(self._shares) > 2 * len(self._held) + 16:
                self._shares = {
                    k: one for k, one in self._shares.items() if one.jobs or one.served > self._virtual_time
                }
            share = self._shares[key] = FairShare(self.weights[job.priority] * job.weight)
        if not share.jobs:
            share.served = max(self._virtual_time, share.served)
        return share

    def _fill(self, place: Place, ranked: Iterable[Held], now: float) -> Step:
        """The rows of these jobs, in order, as many as the step and the free capacity allow."""
        step, spare = Step(place.key, [], []), place.step_rows
        for held in ranked:
            rows = spare // held.step_evaluations or int(not step.ranges)  # one row at least, however much it takes
            if not rows:
                continue
            chosen = held.choose(rows) if held.spans else []
            rows -= sum(stop - start for _, start, stop in chosen)
            entering = min(rows, held.waiting_rows, place.free // held.need)
            if entering:
                chosen.append(held.enter(entering))
                step.entering.append((chosen[-1], held.block))
            if chosen:
                held.stepped_at = now
                step.ranges.extend(chosen)
                spare -= held.step_evaluations * sum(stop - start for _, start, stop in chosen)
            if spare <= 0:
                break
        return step

    def _leave(self, held: Held) -> Held:
        del self._held[held.job.id]
        held.place.used -= held.resident_rows * held.need
        held.fair_share.jobs -= 1
        if not self._held:  # the busy period is over: no share is owed anything
            self._shares.clear()
        return held
