"""What status.lua answers, as a JobStatus."""

from typing import get_args

from service.broker.base import JobStatus, State
from service.jobs import Failure

STATES: dict[bytes, State] = {state.encode(): state for state in get_args(State)}


def job_status(job_id: str, flat: list[bytes]) -> JobStatus:
    position, before, drain = flat[:3]
    fields = {name.decode(errors="replace"): value for name, value in zip(flat[3::2], flat[4::2], strict=True)}
    job = {name: value.decode(errors="replace") for name, value in fields.items()}
    state, rows = STATES[fields["state"]], int(job["row_count"])
    return JobStatus(
        id=job_id,
        operation=job["operation"],
        state=state,
        rows=rows,
        rows_finished=int(float(job["rows_finished"])),
        progress=float(job["progress"]) / rows,
        submitted_at=int(job["submitted_at"]) / 1e3,
        ended_at=float(job["ended_at"]) / 1e3 if "ended_at" in job else None,
        position=int(position) if position else None,
        start_in_seconds=float(before) / float(drain) if before else None,
        error=_failure(state, job),
    )


def _failure(state: State, job: dict[str, str]) -> Failure | None:
    if state in ("failed", "cancelled", "expired") and "code" in job:
        return Failure(job["code"], job.get("message", ""))
    return None
