"""The laws of a job's status over its shards."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from service.api.execution.job_documents import whole
from service.broker.base import JobStatus

ALIVE, ENDED = ("queued", "running"), ("done", "failed", "cancelled", "expired")


@st.composite
def shards(draw: st.DrawFn) -> list[JobStatus]:
    def shard(index: int) -> JobStatus:
        state, rows = draw(st.sampled_from(ALIVE + ENDED)), draw(st.integers(1, 256))
        ended_at = draw(st.floats(1, 1e9)) if state in ENDED else None
        finished = draw(st.integers(0, rows))
        return JobStatus(f"m.{index}", "/v1/x/y", state, rows, finished, draw(st.floats(0, 1)), 1.0, ended_at=ended_at)

    return [shard(index) for index in range(draw(st.integers(1, 5)))]


@given(shards())
def test_a_job_is_alive_as_long_as_one_of_its_shards_is(parts: list[JobStatus]) -> None:
    status = whole(parts)
    assert status.alive is any(part.alive for part in parts)
    assert (status.state == "queued") is all(part.state == "queued" for part in parts)
    assert (status.ended_at is None) is status.alive
    assert status.ended_at is None or status.ended_at == max(part.ended_at for part in parts)


@given(shards())
def test_rows_add_up_and_progress_is_their_mean(parts: list[JobStatus]) -> None:
    status = whole(parts)
    assert status.rows == sum(part.rows for part in parts)
    assert status.rows_finished == sum(part.rows_finished for part in parts)
    assert min(part.progress for part in parts) - 1e-9 <= status.progress <= max(part.progress for part in parts) + 1e-9
    assert whole([replace(part, progress=1.0) for part in parts]).progress == 1.0


@given(shards())
def test_one_shard_is_the_whole_and_the_state_does_not_depend_on_their_order(parts: list[JobStatus]) -> None:
    one = whole(parts[:1])
    assert (one.state, one.rows, one.ended_at) == (parts[0].state, parts[0].rows, parts[0].ended_at)
    assert whole(parts).state == whole(parts[::-1]).state


@given(shards())
def test_a_job_has_failed_only_where_no_shard_has_done_anything(parts: list[JobStatus]) -> None:
    states = {part.state for part in parts}
    assert (whole(parts).state == "failed") is (states == {"failed"})
    assert whole(parts).state != "done" or states <= {"done", "failed"}
