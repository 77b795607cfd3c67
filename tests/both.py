"""What a server answers in both clients' tests, and what each client makes of it, compared."""

import json
from dataclasses import dataclass
from typing import Any

from hostile import EVENTS, Asked, Script, head

from fivefold.errors import FivefoldError

META = {
    "model": {"name": "m", "version": "1", "digest": "d"},
    "exactness": "bitwise",
    "scope": "here",
    "timing": {"queue_ms": 0, "compute_ms": 1, "total_ms": 2.5},
    "receipt": "r",
}
FAILED = {"index": 1, "error": {"code": "row_failed", "message": "alone"}}
BODY = {"items": [{"index": 0, "seed": 7, "row": [1.5]}, FAILED], "parameters": {"n": 2}, "meta": META}
IMAGES = {"items": [{"index": 0, "seed": 7, "image": "UE5H"}], "parameters": {}, "meta": META}
PREVIEW = {"index": 0, "step": 1, "steps": 2, "sigma": 0.5, "image": "UE5H"}


def event(name: str, data: object) -> bytes:
    return f"event: {name}\r\ndata: {json.dumps(data)}\r\n\r\n".encode()


def stream(*events: bytes, hold: bool = False) -> Script:
    return Script(head(200, EVENTS) + b": hello\n\n" + b"".join(events), hold=hold)


@dataclass
class Outcome:
    """What one client made of a scenario."""

    result: Any
    pauses_s: list[float]
    asked: list[Asked]


def plain(asked: Asked) -> tuple[Any, ...]:
    """A request without the id that every call draws for itself."""
    return asked.line, {**asked.headers, "x-request-id": "", "idempotency-key": ""}, asked.body


def comparable(result: Any) -> Any:
    if isinstance(result, FivefoldError):
        return type(result), str(result), result.invalid, result.retry_after_s, result.retryable
    return result
