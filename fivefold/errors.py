"""Every error code: raised by the service, rendered as problem+json, raised again by the SDK.

FivefoldError
├── InvalidInput            invalid_input            the request cannot be run; `invalid` names the places
├── Unauthenticated         unauthenticated          no key, or one that is not known here
├── Forbidden               forbidden                the key has not the scope that this needs
├── NotFound                not_found                no such path, job or worker
│   └── UnknownModel        unknown_model            no such model, version or alias
├── MethodNotAllowed        method_not_allowed
├── NotAcceptable           not_acceptable           the answer has no such media type
├── UnsupportedMediaType    unsupported_media_type   the body has a media type this operation does not read
├── PayloadTooLarge         payload_too_large
├── IdempotencyConflict     idempotency_conflict     the key was used with another body
├── QueueFull               queue_full               `retry_after_s` says when there is room
├── NotReady                not_ready                no worker serves this yet, or any more
├── DeadlineExceeded        deadline_exceeded
├── Cancelled               cancelled
├── InternalError           internal                 our fault; the request id finds it in the log
│   ├── RowFailed           row_failed               this row fails alone, again and again: do not retry
│   └── RowNotFinite        row_not_finite           the model gave NaN or infinity for this row: do not retry
└── TransportError          transport                SDK only: no answer
    ├── ConnectionFailed    connection_failed
    └── TimedOut            timed_out
"""

from collections.abc import Iterator, Sequence
from typing import ClassVar

from pydantic import BaseModel


class Invalid(BaseModel):
    """One place of a request that was refused: `place` is a path such as "rows.17.3"."""

    place: str
    message: str


class FivefoldError(Exception):
    """Base of all. `message` states what was given, what is possible, and the way out.

    `retryable` says whether the same request may succeed later: the class knows, a service may know better.
    """

    code: ClassVar[str] = "error"
    title: ClassVar[str] = "Error"
    retryable: bool = False

    def __init__(
        self,
        message: str,
        *,
        invalid: Sequence[Invalid] = (),
        retry_after_s: float | None = None,
        request_id: str | None = None,
        retryable: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.invalid = tuple(invalid)
        self.retry_after_s = retry_after_s
        self.request_id = request_id
        if retryable is not None:
            self.retryable = retryable


class InvalidInput(FivefoldError):
    code, title = "invalid_input", "Invalid input"

    @classmethod
    def at(cls, place: str, message: str) -> "InvalidInput":
        """The request cannot be run because of this one place."""
        return cls(message, invalid=[Invalid(place=place, message=message)])


class Unauthenticated(FivefoldError):
    code, title = "unauthenticated", "Unauthenticated"


class Forbidden(FivefoldError):
    code, title = "forbidden", "Forbidden"


class NotFound(FivefoldError):
    code, title = "not_found", "Not found"


class UnknownModel(NotFound):
    code, title = "unknown_model", "Unknown model"


class MethodNotAllowed(FivefoldError):
    code, title = "method_not_allowed", "Method not allowed"


class NotAcceptable(FivefoldError):
    code, title = "not_acceptable", "Not acceptable"


class UnsupportedMediaType(FivefoldError):
    code, title = "unsupported_media_type", "Unsupported media type"


class PayloadTooLarge(FivefoldError):
    code, title = "payload_too_large", "Payload too large"


class IdempotencyConflict(FivefoldError):
    code, title = "idempotency_conflict", "Idempotency conflict"


class QueueFull(FivefoldError):
    code, title, retryable = "queue_full", "Queue full", True


class NotReady(FivefoldError):
    code, title, retryable = "not_ready", "Not ready", True


class DeadlineExceeded(FivefoldError):
    code, title = "deadline_exceeded", "Deadline exceeded"


class Cancelled(FivefoldError):
    code, title = "cancelled", "Cancelled"


class InternalError(FivefoldError):
    code, title, retryable = "internal", "Internal error", True


class RowFailed(InternalError):
    code, title, retryable = "row_failed", "Row failed", False


class RowNotFinite(InternalError):
    """`of_input`: the numbers are to blame that the client gave for the row."""

    code, title, retryable = "row_not_finite", "Row not finite", False
    of_input: bool = False


class TransportError(FivefoldError):
    code, title, retryable = "transport", "No answer", True


class ConnectionFailed(TransportError):
    code, title = "connection_failed", "Connection failed"


class TimedOut(TransportError):
    code, title = "timed_out", "Timed out"


def _tree(error: type[FivefoldError]) -> Iterator[type[FivefoldError]]:
    yield error
    for subclass in error.__subclasses__():
        yield from _tree(subclass)


def error_of(code: str) -> type[FivefoldError]:
    """The class of a code; FivefoldError itself for a code of a newer service."""
    return next((error for error in _tree(FivefoldError) if error.code == code), FivefoldError)


def item_error(code: str, message: str, *, of_input: bool) -> FivefoldError:
    """The error of an item; `of_input`: the client gave the numbers that it was run on."""
    error = error_of(code)(message)
    if isinstance(error, RowNotFinite):
        error.of_input = of_input
    return error
