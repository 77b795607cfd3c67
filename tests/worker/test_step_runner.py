"""A step: rows that are not ready wait uncharged, and a failure is halved down to its row."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from model_store.store import ModelRef
from service.jobs import Block, Events, Parameters, Range, block_of
from service.telemetry import Metrics
from service.worker.account import runs
from service.worker.isolation import run_bisecting, without
from service.worker.scheduler import Step
from service.worker.step_runner import StepRunner

MODEL = ModelRef("m", "1", "0" * 64)
KEY = (MODEL, Parameters)
places = st.sets(st.integers(0, 20))


class OneAtATime:
    """A session of which only the first resident row is ready."""

    capacity, memory_bytes = 8, 0

    def need(self, block: Block) -> int:
        raise KeyError("a column that is missing")

    def admit(self, rows: Range, block: Block) -> None: ...

    def ready(self, rows: Sequence[Range]) -> Sequence[Range]:
        return [rows[0]._replace(stop=rows[0].start + 1)]

    def step(self, rows: Sequence[Range]) -> Sequence[Events]:
        return [Events(one.job_id, "step", np.array([one.start]), np.array([0])) for one in rows]

    def drop(self, rows: Sequence[Range]) -> None: ...

    def close(self) -> None: ...


class OneSession:
    """The residency of one session."""

    def session(self, key: object) -> OneAtATime:
        return OneAtATime()


@pytest.fixture
def runner() -> StepRunner:
    return StepRunner(OneSession(), Metrics(), "here")  # type: ignore[arg-type]


def test_only_rows_that_are_ready_advance_and_are_counted(runner: StepRunner) -> None:
    rows, block = Range("j", 0, 3), block_of(Parameters(), 3)
    outcome = runner.run(Step(KEY, [rows], [(rows, block)]))
    assert outcome.advanced == [Range("j", 0, 1)]
    assert (outcome.ended, runner.rows_run) == ([], 1)
    (events,) = outcome.events
    assert (events.progress.tolist(), events.scope) == ([1.0], "here")
    assert events.compute_ms[0] > 0.0


@given(places)
def test_every_bad_row_is_found_alone_and_every_other_runs_once(bad: set[int]) -> None:
    ran: list[int] = []

    def run(ranges: Sequence[Range]) -> None:
        rows = [place for one in ranges for place in range(one.start, one.stop)]
        if bad & set(rows):
            raise ValueError("poison")
        ran.extend(rows)

    ranges = [Range("j", 0, 5), Range("k", 5, 6), Range("l", 6, 21)]
    with capture_logs():
        failures = run_bisecting(run, ranges).failures
    assert sorted(row.start for row, _ in failures) == sorted(bad)
    assert all(row.rows == 1 for row, _ in failures)
    assert ran == [place for place in range(21) if place not in bad]


@given(places)
def test_ranges_without_rows_have_exactly_the_others(gone: set[int]) -> None:
    left = without([Range("j", 0, 9), Range("j", 12, 21)], [Range("j", place, place + 1) for place in gone])
    rows = [place for one in left for place in range(one.start, one.stop)]
    assert rows == [place for place in (*range(9), *range(12, 21)) if place not in gone]


@given(places.filter(bool))
def test_positions_become_the_fewest_ranges(rows: set[int]) -> None:
    ranges = runs("j", np.array(sorted(rows)))
    assert [place for one in ranges for place in range(one.start, one.stop)] == sorted(rows)
    assert all(first.stop < second.start for first, second in pairwise(ranges))
