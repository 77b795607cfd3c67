"""Errors -> RFC 9457 problem+json; the only place that speaks HTTP status."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from starlette.responses import Response

from fivefold import errors
from fivefold.errors import FivefoldError, Invalid, InvalidInput

PROBLEM_TYPE = "application/problem+json"
MAX_REPORTED = 10
STATUS: dict[type[FivefoldError], int] = {
    errors.InvalidInput: 422,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.MethodNotAllowed: 405,
    errors.NotAcceptable: 406,
    errors.UnsupportedMediaType: 415,
    errors.PayloadTooLarge: 413,
    errors.IdempotencyConflict: 409,
    errors.QueueFull: 429,
    errors.NotReady: 503,
    errors.DeadlineExceeded: 504,
    errors.Cancelled: 499,
    FivefoldError: 500,
}
BY_STATUS: dict[int, type[FivefoldError]] = {
    401: errors.Unauthenticated,
    403: errors.Forbidden,
    404: errors.NotFound,
    405: errors.MethodNotAllowed,
}
OWN_WORDS = ("missing", "json_invalid", "too_large")
"""Types of errors whose message says what was given."""
ModelT = TypeVar("ModelT", bound=BaseModel)


def status_of(error: FivefoldError) -> int:
    """The status of an error's class, or of the nearest ancestor that has one; that of bad input where it is one."""
    kind = errors.InvalidInput if isinstance(error, errors.RowNotFinite) and error.of_input else type(error)
    return next(STATUS[parent] for parent in kind.__mro__ if parent in STATUS)


def problem(error: FivefoldError, request_id: str) -> dict[str, Any]:
    """The problem document."""
    return {
        "type": f"urn:fivefold:problem:{error.code}",
        "title": error.title,
        "status": status_of(error),
        "detail": error.message,
        "code": error.code,
        "request_id": request_id,
        "errors": [invalid.model_dump() for invalid in error.invalid],
    }


def problem_response(error: FivefoldError, request_id: str, extra: Mapping[str, str] | None = None) -> Response:
    """`extra` are headers that belong to the status, such as Allow."""
    document = problem(error, request_id)
    headers = {"x-should-retry": str(error.retryable).lower(), **(extra or {})}
    if isinstance(error, errors.Unauthenticated):
        headers["www-authenticate"] = "Bearer"
    if error.retry_after_s is not None:
        headers |= {
            "retry-after": str(math.ceil(max(1.0, error.retry_after_s))),
            "retry-after-ms": str(round(error.retry_after_s * 1e3)),
        }
    return Response(orjson.dumps(document), document["status"], headers, PROBLEM_TYPE)


def validate(model: type[ModelT], read: Callable[[], ModelT]) -> ModelT:
    """The result of a pydantic validation of `model`. Raises InvalidInput, at most ten places."""
    try:
        return read()
    except ValidationError as error:
        raise invalid_input_of(error, model) from error


def invalid_input_of(error: ValidationError, model: type[BaseModel]) -> InvalidInput:
    """A pydantic error of `model`, at most ten places."""
    found = error.errors(include_url=False)
    return refusal([Invalid(place=place_of(one), message=message_of(one, model)) for one in found])


def refusal(invalid: Sequence[Invalid], *, complete: bool = True) -> InvalidInput:
    """These as one error, at most ten places; it is not `complete` where more were not looked for."""
    first = f"{invalid[0].place}: {invalid[0].message}" if invalid[0].place else invalid[0].message
    more = f" (and {'' if complete else 'at least '}{len(invalid) - 1} more)" if len(invalid) > 1 else ""
    return InvalidInput(first + more, invalid=invalid[:MAX_REPORTED])


def place_of(error: ErrorDetails) -> str:
    return ".".join(map(str, error["loc"]))


def message_of(error: ErrorDetails, model: type[BaseModel] | None = None) -> str:
    """What was given, what is possible; `model` names the fields where one is unknown."""
    if error["type"] == "extra_forbidden" and model is not None:
        known = sorted(field.alias or name for name, field in model.model_fields.items())
        return f"unknown field; the fields are {', '.join(known)}"
    if error["type"] in OWN_WORDS:
        return error["msg"]
    given = error["input"]
    shown = str(len(given)) if error["type"] in ("too_short", "too_long") else _shown(given)
    return f"{shown} given: {error['msg'][0].lower()}{error['msg'][1:]}"


def _shown(given: object) -> str:
    """A value in a few characters, without writing out a large one first."""
    if isinstance(given, list | dict):
        return f"{'a list' if isinstance(given, list) else 'an object'} of {len(given)}"
    return repr(given[:60] if isinstance(given, str) else given)[:62]
