"""The scheduler's laws: no row lost, none run after its end, budgets kept, deadlines, fairness, no starvation."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_store.store import ModelRef
from service.costs import CostCurve
from service.jobs import Block, Job, Lease, Parameters, Range
from service.settings import Settings
from service.worker.held import SessionKey, SessionLimits
from service.worker.scheduler import PATIENCE_STEPS, Scheduler, Step


@dataclass(frozen=True)
class Slow(Parameters):
    """20 ms a row: two fit in a step."""


@dataclass(frozen=True)
class Fast(Parameters):
    """1 ms a row: its capacity is the limit."""


MODEL = ModelRef("m", "1", "0" * 64)
WEIGHTS = Settings().class_weights
MAX_STEP_MS = 50.0
SLOW: SessionKey = (MODEL, Slow)
FAST: SessionKey = (MODEL, Fast)
SESSIONS = {
    SLOW: SessionLimits(8, CostCurve(0.005, 0.020)),
    FAST: SessionLimits(5, CostCurve(0.0, 0.001)),
}
RowId = tuple[str, int]


def scheduler() -> Scheduler:
    made = Scheduler(MAX_STEP_MS, WEIGHTS)
    for key, limits in SESSIONS.items():
        made.register(key, limits)
    return made


def lease(name: str, session: SessionKey = SLOW, rows: int = 1, work: float = 1.0, **fields: object) -> Lease:
    block = Block(session[1](), np.arange(rows), np.arange(rows), np.full(rows, float(work)))
    return Lease(Job(name, session[0], "toy/op", block, 1.0, **fields), 1, 1)  # type: ignore[arg-type]


def rows_of(ranges: Iterable[Range]) -> list[RowId]:
    return [(one.job_id, position) for one in ranges for position in range(one.start, one.stop)]


def end(subject: Scheduler, rows: Iterable[RowId]) -> None:
    subject.end([Range(job_id, position, position + 1) for job_id, position in rows])


def advance(subject: Scheduler, now: float) -> Step | None:
    """The next step, of which every row advances."""
    step = subject.next_step(now)
    if step is not None:
        subject.charge(step.ranges)
    return step


def run_to_the_end(subject: Scheduler, works: dict[str, float], now: float = 0.0, limit: int = 10_000) -> list[Step]:
    """Step until nothing is left; a row of job j ends after works[j] steps."""
    steps, taken = [], Counter[RowId]()
    while (step := advance(subject, now)) is not None:
        steps.append(step)
        taken.update(rows_of(step.ranges))
        end(subject, (row for row in rows_of(step.ranges) if taken[row] >= works[row[0]]))
        now += MAX_STEP_MS / 1000.0
        assert len(steps) <= limit
    return steps


jobs_drawn = st.lists(
    st.tuples(
        st.sampled_from((SLOW, FAST)),
        st.integers(1, 12),
        st.integers(1, 4),
        st.sampled_from(("A", "B", "C")),
        st.sampled_from(("interactive", "normal", "bulk")),
        st.none() | st.floats(0.0, 60.0),
    ),
    min_size=1,
    max_size=8,
)


def leases_of(drawn: list[tuple[SessionKey, int, int, str, str, float | None]]) -> list[Lease]:
    return [
        lease(f"j{i}", session, rows, work, tenant=tenant, priority=priority, deadline=deadline)
        for i, (session, rows, work, tenant, priority, deadline) in enumerate(drawn)
    ]


@given(jobs_drawn)
def test_every_row_runs_as_often_as_it_needs_in_its_own_session_and_never_after_its_end(drawn) -> None:
    subject, leases = scheduler(), leases_of(drawn)
    for each in leases:
        subject.add(each, 0.0)
    works = {each.job.id: each.job.block.work[0] for each in leases}
    ran: Counter[RowId] = Counter()
    for step in run_to_the_end(subject, works):
        ran.update(rows_of(step.ranges))
        for one in step.ranges:
            parameters = next(each.job.block.parameters for each in leases if each.job.id == one.job_id)
            assert step.session[1] is type(parameters)
    assert ran == {(each.job.id, row): work for each in leases for row, work in enumerate(each.job.block.work)}
    assert subject.held() == []


@given(jobs_drawn)
def test_a_step_keeps_the_time_budget_and_the_capacity_and_names_no_row_twice(drawn) -> None:
    subject, leases = scheduler(), leases_of(drawn)
    for each in leases:
        subject.add(each, 0.0)
    works = {each.job.id: each.job.block.work[0] for each in leases}
    resident: dict[SessionKey, set[RowId]] = {SLOW: set(), FAST: set()}
    taken: Counter[RowId] = Counter()
    now = 0.0
    while (step := advance(subject, now)) is not None:
        limits, rows = SESSIONS[step.session], rows_of(step.ranges)
        entering = rows_of(one for one, _ in step.entering)
        assert len(set(rows)) == len(rows) > 0
        assert limits.curve.seconds(len(rows)) <= MAX_STEP_MS / 1000.0 or len(rows) == 1
        for job_id in {one.job_id for one in step.ranges}:  # as a session takes them
            places = [position for name, position in rows if name == job_id]
            assert places == sorted(places)
        assert not resident[step.session] & set(entering)
        resident[step.session] |= set(entering)
        assert set(rows) <= resident[step.session]
        assert len(resident[step.session]) <= limits.capacity
        taken.update(rows)
        finished = {row for row in rows if taken[row] >= works[row[0]]}
        resident[step.session] -= finished
        end(subject, finished)
        now += 0.01


@given(jobs_drawn, st.integers(0, 20))
def test_the_same_calls_have_the_same_answers(drawn, cancelled: int) -> None:
    def run() -> list[object]:
        subject, leases = scheduler(), leases_of(drawn)
        for each in leases:
            subject.add(each, 0.0)
        first = [advance(subject, 0.0) for _ in range(3)]
        subject.cancel(f"j{cancelled}")
        works = {each.job.id: each.job.block.work[0] + 3 for each in leases}
        steps = [step for step in first if step] + run_to_the_end(subject, works)
        return [(step.session, step.ranges, [one for one, _ in step.entering]) for step in steps]

    assert run() == run()


@given(jobs_drawn, st.data())
def test_what_is_cancelled_or_expired_never_runs_again_and_frees_its_places(drawn, data: st.DataObject) -> None:
    subject, leases = scheduler(), leases_of(drawn)
    for each in leases:
        subject.add(each, 0.0)
    for _ in range(data.draw(st.integers(0, 5))):
        advance(subject, 0.0)
    now = data.draw(st.floats(0.0, 60.0))
    gone = {held.job.id for held in subject.expire(now)}
    assert gone == {each.job.id for each in leases if each.job.deadline is not None and each.job.deadline <= now}
    victim = data.draw(st.sampled_from(leases)).job.id
    assert (subject.cancel(victim) is None) == (victim in gone)
    gone.add(victim)
    works = {each.job.id: 4.0 for each in leases}
    steps = run_to_the_end(subject, works, now)
    assert not {one.job_id for step in steps for one in step.ranges} & gone
    for key, limits in SESSIONS.items():  # every place is free again
        subject.add(lease("late", key, rows=20), now)
        step = subject.next_step(now)
        assert step is not None
        assert len(rows_of(step.ranges)) == min(20, limits.rows_per_step(MAX_STEP_MS / 1000.0))
        subject.cancel("late")


@given(st.lists(st.floats(0.0, 10.0), min_size=2, max_size=8, unique=True))
def test_among_equals_the_earlier_deadline_is_first(deadlines: list[float]) -> None:
    subject = scheduler()
    for index, deadline in enumerate(deadlines):
        subject.add(lease(f"j{index}", deadline=deadline, tenant="A"), 0.0)
    order = [
        job_id
        for step in run_to_the_end(subject, {f"j{i}": 1.0 for i in range(len(deadlines))})
        for job_id, _ in rows_of(step.ranges)
    ]
    assert order == [f"j{index}" for index in sorted(range(len(deadlines)), key=deadlines.__getitem__)]


@pytest.mark.parametrize("priority", ["interactive", "normal", "bulk"])
def test_no_job_waits_for_ever_behind_an_endless_stream_of_smaller_and_weightier_ones(priority: str) -> None:
    subject, now, patience = scheduler(), 0.0, PATIENCE_STEPS * MAX_STEP_MS / 1000.0
    subject.add(lease("patient", rows=1, work=1000.0, tenant="A", priority="bulk"), now)
    last = now
    for index in range(2000):
        for copy in range(3):
            subject.add(lease(f"j{index}.{copy}", tenant="A", priority=priority, deadline=now + 0.09), now)
        step = advance(subject, now)
        assert step is not None
        now += MAX_STEP_MS / 1000.0
        if "patient" in {one.job_id for one in step.ranges}:
            last = now
        assert now - last <= patience + 1.0
        subject.end(one for one in step.ranges if one.job_id != "patient")
        subject.expire(now)


@given(jobs_drawn, st.data())
def test_only_rows_that_advance_are_charged(drawn, data: st.DataObject) -> None:
    subject, leases = scheduler(), leases_of(drawn)
    for each in leases:
        subject.add(each, 0.0)
    charged: Counter[RowId] = Counter()
    for _ in range(12):
        step = subject.next_step(0.0)
        assert step is not None
        advanced = [one for one in step.ranges if data.draw(st.booleans())]
        subject.charge(advanced)
        charged.update(rows_of(advanced))
    for held in subject.held():
        needed = charged_of = 0.0
        for position, work in enumerate(held.block.work):
            charged_of += charged[held.job.id, position]
            needed += work
        assert held.remaining_work == max(0.0, needed - charged_of)
        spans = {position: span.charged for span in held.spans for position in range(span.start, span.stop)}
        assert spans == {position: charged[held.job.id, position] for position in range(held.waits_from)}


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 10), st.integers(1, 3)), min_size=1, max_size=6))
def test_rows_of_different_need_keep_within_the_capacity_and_all_end(drawn: list[tuple[int, int, int]]) -> None:
    subject = Scheduler(MAX_STEP_MS, WEIGHTS)
    subject.register(FAST, SessionLimits(6, CostCurve(0.0, 0.001)))
    for index, (need, rows, work) in enumerate(drawn):
        subject.add(lease(f"j{index}", FAST, rows, work), 0.0, need)
    needs = {f"j{index}": need for index, (need, _, _) in enumerate(drawn)}
    works = {f"j{index}": work for index, (_, _, work) in enumerate(drawn)}
    taken: Counter[RowId] = Counter()
    while (step := advance(subject, 0.0)) is not None:
        taken.update(rows_of(step.ranges))
        resident = [row for row, steps in taken.items() if steps < works[row[0]] or row in rows_of(step.ranges)]
        assert sum(needs[job_id] for job_id, _ in resident) <= 6
        end(subject, (row for row in rows_of(step.ranges) if taken[row] >= works[row[0]]))
    assert taken == {(f"j{index}", row): work for index, (_, rows, work) in enumerate(drawn) for row in range(rows)}


# Examples


def shares(subject: Scheduler, steps: int) -> Counter[str]:
    """Device seconds by tenant over so many steps of rows that never end."""
    seconds: Counter[str] = Counter()
    for _ in range(steps):
        step = advance(subject, 0.0)
        assert step is not None
        rows = rows_of(step.ranges)
        for job_id, _ in rows:
            seconds[job_id[0]] += SESSIONS[step.session].curve.seconds(len(rows)) / len(rows)  # type: ignore[assignment]
    return seconds


def test_two_tenants_share_the_device_equally_whatever_they_send() -> None:
    subject = scheduler()
    for index in range(8):
        subject.add(lease(f"A{index}", rows=4, work=1e6, tenant="A"), 0.0)
    subject.add(lease("B", rows=1, work=1e6, tenant="B"), 0.0)
    seconds = shares(subject, 400)
    assert seconds["A"] / seconds["B"] == pytest.approx(1.0, rel=0.05)


def test_classes_share_by_weight() -> None:
    subject = scheduler()
    subject.add(lease("A", rows=4, work=1e6, priority="interactive"), 0.0)
    subject.add(lease("B", rows=4, work=1e6, priority="normal"), 0.0)
    seconds = shares(subject, 500)
    assert seconds["A"] / seconds["B"] == pytest.approx(4.0, rel=0.05)


def test_tenants_share_by_weight() -> None:
    subject = scheduler()
    subject.add(lease("A", rows=4, work=1e6, tenant="A", weight=3.0), 0.0)
    subject.add(lease("B", rows=4, work=1e6, tenant="B"), 0.0)
    seconds = shares(subject, 500)
    assert seconds["A"] / seconds["B"] == pytest.approx(3.0, rel=0.05)


def test_a_session_with_many_rows_does_not_starve_another() -> None:
    subject = scheduler()
    for index in range(16):
        subject.add(lease(f"A{index}", SLOW, rows=8, work=1e6), 0.0)
    subject.add(lease("B", FAST, rows=1, work=1e6), 0.0)
    seconds = shares(subject, 500)
    assert seconds["A"] / seconds["B"] == pytest.approx(1.0, rel=0.05)


def test_a_tenant_that_was_away_is_owed_nothing() -> None:
    subject = scheduler()
    subject.add(lease("A", rows=2, work=1e6, tenant="A"), 0.0)
    shares(subject, 100)
    subject.add(lease("B", rows=2, work=1e6, tenant="B"), 0.0)
    seconds = shares(subject, 100)
    assert seconds["B"] / seconds["A"] == pytest.approx(1.0, rel=0.1)


def test_the_job_with_the_least_work_left_is_first_within_a_tenant() -> None:
    subject = scheduler()
    subject.add(lease("large", rows=8, work=30.0), 0.0)
    advance(subject, 0.0)
    subject.add(lease("small", rows=2, work=3.0), 0.0)
    step = advance(subject, 0.0)
    assert step is not None
    assert {one.job_id for one in step.ranges} == {"small"}


def test_rows_join_a_live_batch() -> None:
    subject = scheduler()
    subject.add(lease("a", FAST, rows=2, work=10.0), 0.0)
    advance(subject, 0.0)
    subject.add(lease("b", FAST, rows=2, work=10.0), 0.0)
    step = advance(subject, 0.0)
    assert step is not None
    assert sorted(step.ranges) == [("a", 0, 2), ("b", 0, 2)]
    assert [one for one, _ in step.entering] == [("b", 0, 2)]


def test_an_urgent_deadline_goes_before_a_fairer_turn() -> None:
    subject = scheduler()
    subject.add(lease("A", rows=2, work=100.0, tenant="A"), 0.0)
    subject.add(lease("B", rows=2, work=100.0, tenant="B", deadline=1.0), 0.0)
    for now in (0.0, 0.05, 0.1):
        step = advance(subject, now)
        assert step is not None
        assert {one.job_id for one in step.ranges} == {"B"}


def test_a_worker_holds_two_steps_of_small_jobs_or_many_large_ones() -> None:
    subject = scheduler()
    full = subject.spare_seconds()
    held = 0
    while subject.spare_seconds() > 0.0:
        subject.add(lease(f"j{held}", rows=64, work=100.0), 0.0)
        held += 1
    assert full == pytest.approx(2 * 5 * 0.001)  # the fast session: two steps of five jobs of 1 ms
    assert held == 32


def test_a_worker_keeps_no_more_short_jobs_from_others_than_two_steps_run() -> None:
    subject, held = scheduler(), 0
    while subject.spare_seconds() > 0.0:
        subject.add(lease(f"j{held}", session=FAST), 0.0)
        held += 1
    assert held == 2 * SESSIONS[FAST].capacity


def test_a_newer_lease_is_told_from_an_older_one() -> None:
    subject, old = scheduler(), lease("a")
    new = replace(old, token=2)
    subject.add(new, 0.0)
    assert subject.holds(new)
    assert not subject.holds(old)
    assert subject.lease("a") is new


def test_a_graph_too_slow_for_the_budget_still_runs_one_row() -> None:
    assert SessionLimits(8, CostCurve(1.0, 1.0)).rows_per_step(0.05) == 1
    assert SessionLimits(8, CostCurve(0.0, 0.01)).rows_per_step(0.05) == 5


def test_a_suspended_session_keeps_its_jobs_and_runs_no_step() -> None:
    subject = scheduler()
    subject.suspend(SLOW)
    full = subject.spare_seconds()
    subject.add(lease("waits", rows=4), 0.0)
    assert subject.next_step(0.0) is None
    assert not subject.runnable
    assert subject.spare_seconds() == full
    subject.register(SLOW, SESSIONS[SLOW])
    waiting = subject.cancel("waits")
    assert waiting is not None
    subject.add(waiting.lease, 0.0)
    assert [step.session for step in run_to_the_end(subject, {"waits": 1.0})] == [SLOW, SLOW]


def test_rows_that_end_early_are_not_waited_for() -> None:
    subject = scheduler()
    subject.add(lease("a", FAST, rows=4, work=10.0), 0.0)
    advance(subject, 0.0)
    subject.end([Range("a", 1, 3)])
    (held,) = subject.held()
    assert (held.remaining_work, held.unfinished()) == (18.0, [Range("a", 0, 1), Range("a", 3, 4)])


@dataclass(frozen=True)
class Guided(Parameters):
    """10 ms an evaluation, and each step of a row makes two: guidance asks the graph with and without the class."""

    @property
    def step_evaluations(self) -> int:
        return 2


@given(rows=st.integers(1, 9), steps=st.integers(1, 5), max_step_ms=st.sampled_from((15.0, 45.0, 500.0)))
def test_steps_of_several_evaluations_are_charged_as_such(rows: int, steps: int, max_step_ms: float) -> None:
    subject, session = Scheduler(max_step_ms, WEIGHTS), (MODEL, Guided)
    subject.register(session, SessionLimits(100, CostCurve(0.0, 0.010)))
    subject.add(lease("guided", session, rows, work=2.0 * steps), 0.0)
    taken: Counter[RowId] = Counter()
    while (step := advance(subject, 0.0)) is not None:
        stepped = rows_of(step.ranges)
        assert stepped
        assert len(stepped) == 1 or 20.0 * len(stepped) <= max_step_ms
        taken.update(stepped)
        left = sum(2.0 * (steps - taken["guided", row]) for row in range(rows))
        assert subject.held()[0].remaining_work == left
        end(subject, (row for row in stepped if taken[row] == steps))
    assert set(taken.values()) == {steps}
    assert len(taken) == rows
