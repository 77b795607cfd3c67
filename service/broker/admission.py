"""Why a job is refused at the door, and when to come back: one text for every broker."""

from fivefold.errors import FivefoldError, IdempotencyConflict, InvalidInput, QueueFull


def full_of_work(waiting_seconds: float, job_seconds: float, limit_seconds: float, drain_rate: float) -> QueueFull:
    """The queue would hold more predicted seconds than it may."""
    reason = (
        f"{waiting_seconds:.1f} s of work are queued and this request needs {job_seconds:.1f} s, "
        f"the queue holds {limit_seconds:g} s"
    )
    return _refusal(reason, (waiting_seconds + job_seconds - limit_seconds) / drain_rate)


def full_of_jobs(waiting_jobs: int, waiting_seconds: float, limit_jobs: int, drain_rate: float) -> QueueFull:
    """The queue holds as many jobs as it may."""
    reason = f"{waiting_jobs} jobs are queued, the queue holds {limit_jobs}"
    return _refusal(reason, waiting_seconds / waiting_jobs / drain_rate)


def full_of_bytes(
    held_bytes: int, job_bytes: int, limit_bytes: int, seconds: float, drain_rate: float
) -> FivefoldError:
    """The queue would hold more bytes than it may; `seconds` of work hold what is there. QueueFull, or InvalidInput."""
    if job_bytes > limit_bytes:
        return too_large(job_bytes, limit_bytes)
    reason = f"the queue holds {held_bytes} of {limit_bytes} bytes and this request needs {job_bytes}"
    return _refusal(reason, seconds / drain_rate)


def too_large(request_bytes: int, limit_bytes: int) -> InvalidInput:
    """An empty queue does not hold so many bytes."""
    return InvalidInput(
        f"this request takes {request_bytes} bytes of the queue, which holds {limit_bytes}: send fewer items"
    )


def too_much_work(shards: int, shards_limit: int, seconds: float, seconds_limit: float) -> InvalidInput:
    """An empty queue does not hold so much work, or so many jobs."""
    return InvalidInput(
        f"this request needs {seconds:.1f} s of work (jobs: {shards}), the queue holds {seconds_limit:g} s "
        f"(jobs: {shards_limit}): send fewer items, or ask for fewer steps"
    )


def too_late(ahead_seconds: float, job_seconds: float, left_seconds: float) -> FivefoldError:
    """By the measured cost the deadline passes before the job is done: QueueFull, or InvalidInput in any queue."""
    needed_seconds = ahead_seconds + job_seconds
    if job_seconds > left_seconds:
        return InvalidInput.at(
            "deadline_ms",
            f"the deadline is in {left_seconds:.3f} s and this request needs {job_seconds:.3f} s: "
            f"give it {1e3 * needed_seconds:.0f} ms, or fewer items",
        )
    reason = (
        f"the deadline is in {left_seconds:.3f} s, {ahead_seconds:.3f} s of work are before this request and it needs "
        f"{job_seconds:.3f} s: give it {1e3 * needed_seconds:.0f} ms"
    )
    return _refusal(f"{reason}, or fewer items", needed_seconds - left_seconds, " or")


def other_body(key: str, theirs: str, ours: str) -> IdempotencyConflict:
    """The key names a job that was asked for with another body."""
    return IdempotencyConflict(
        f"the key {key!r} was used with a body of sha256 {theirs}, this one has {ours}: "
        "send the same body, or another key"
    )


def _refusal(reason: str, wait_seconds: float, conjunction: str = ":") -> QueueFull:
    retry_after_s = max(1.0, wait_seconds)
    return QueueFull(f"{reason}{conjunction} retry after {retry_after_s:.0f} s", retry_after_s=retry_after_s)
