"""What a failed HTTP answer means, and when to try again: pure functions."""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http.client import responses

from pydantic import BaseModel, ValidationError

from fivefold.errors import (
    Cancelled,
    ConnectionFailed,
    FivefoldError,
    Forbidden,
    IdempotencyConflict,
    InternalError,
    Invalid,
    InvalidInput,
    MethodNotAllowed,
    NotAcceptable,
    NotFound,
    NotReady,
    PayloadTooLarge,
    QueueFull,
    TimedOut,
    Unauthenticated,
    UnsupportedMediaType,
    error_of,
)

FIRST_PAUSE_S, LONGEST_PAUSE_S, LONGEST_RETRY_AFTER_S = 0.5, 8.0, 60.0

# For answers that are not the service's own: a proxy's page, a load balancer's text.
_BY_STATUS: Mapping[int, type[FivefoldError]] = {
    400: InvalidInput,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    405: MethodNotAllowed,
    406: NotAcceptable,
    408: TimedOut,
    409: IdempotencyConflict,
    413: PayloadTooLarge,
    415: UnsupportedMediaType,
    422: InvalidInput,
    429: QueueFull,
    499: Cancelled,
    502: ConnectionFailed,
    503: NotReady,
    504: TimedOut,
}


class _Problem(BaseModel):
    """The members of RFC 9457's problem+json that a caller needs."""

    code: str = ""
    detail: str
    request_id: str | None = None
    errors: list[Invalid] = []


def backoff_s(attempt: int, error: FivefoldError, uniform: float) -> float | None:
    """Seconds to wait after failed attempt 0, 1, ...; None where another attempt is no use.

    Full jitter (`uniform` in [0, 1) of a pause that doubles), on top of what the service asked for: clients that were
    refused together do not return together. A service that asks for more than a minute is not waited for.
    """
    asked_s = error.retry_after_s or 0.0
    if not error.retryable or asked_s > LONGEST_RETRY_AFTER_S:
        return None
    return asked_s + uniform * min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(attempt, 16))


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """`retry-after-ms`, or `Retry-After` in seconds or as a date, counted from the answer's own `Date`."""
    try:
        if "retry-after-ms" in headers:
            return _wait(float(headers["retry-after-ms"]) / 1000)
        return _wait(float(headers["retry-after"])) if "retry-after" in headers else None
    except ValueError:
        return _until(headers)


def _wait(seconds: float) -> float | None:
    return seconds if 0 <= seconds < float("inf") else None


def _until(headers: Mapping[str, str]) -> float | None:
    try:
        there, now = (parsedate_to_datetime(headers.get(name, "")) for name in ("retry-after", "date"))
        return max(0.0, (there - now).total_seconds())
    except (ValueError, TypeError):
        return None


def error_from(status: int, headers: Mapping[str, str], content: bytes | str, request_id: str) -> FivefoldError:
    """The error of an answer that is no success, whoever wrote its body."""
    by_status = _BY_STATUS.get(status, InternalError if status >= 500 else FivefoldError)
    problem = _problem(status, content)
    by_code = error_of(problem.code)
    kind = by_status if by_code is FivefoldError else by_code  # a code of a newer service is judged by its status
    return kind(
        problem.detail,
        invalid=problem.errors,
        retry_after_s=retry_after_s(headers),
        request_id=problem.request_id or headers.get("x-request-id", request_id),
        retryable={"true": True, "false": False}.get(headers.get("x-should-retry", "").lower()),
    )


def _problem(status: int, content: bytes | str) -> _Problem:
    try:
        return _Problem.model_validate_json(content)
    except ValidationError:
        text = content if isinstance(content, str) else content.decode("utf-8", "replace")
        return _Problem(
            detail=f"HTTP {status} {responses.get(status, '')}: {' '.join(text.split())[:200]}".rstrip(": ")
        )
