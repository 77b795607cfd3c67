"""One call over its attempts: what is sent, the time that is left, and what a failure means. No I/O."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from uuid import uuid4

from fivefold.errors import FivefoldError, TimedOut
from fivefold.operation import JSON_TYPE
from fivefold.retries import backoff_s


@dataclass(frozen=True)
class Timeouts:
    """Seconds to connect, of silence while waiting for bytes, and of the whole call with its retries."""

    connect_s: float = 5.0
    read_s: float = 600.0
    total_s: float = 600.0


@dataclass(frozen=True)
class Call:
    """What is sent, the same in every attempt: a repeated POST is the same job, and one id finds all in the log.

    `total_s` is the time it may take in all, where that is not the client's.
    """

    method: str
    path: str
    accept: str = JSON_TYPE
    content: bytes | None = None
    max_retries: int = 2
    more_headers: Mapping[str, str] = field(default_factory=dict)
    total_s: float | None = None
    id: str = field(default_factory=lambda: uuid4().hex)

    @property
    def headers(self) -> dict[str, str]:
        headers = {"accept": self.accept, "x-request-id": self.id, **self.more_headers}
        if self.content is not None:
            headers |= {"content-type": JSON_TYPE, "idempotency-key": self.id}
        return headers


@dataclass(frozen=True)
class Reply:
    """A success: headers by their lower-case names, and the body."""

    headers: Mapping[str, str]
    content: bytes


class Exchange:
    """The attempts of one call, counted against its time-out."""

    def __init__(self, call: Call, timeouts: Timeouts, clock: Callable[[], float] = time.monotonic) -> None:
        self.call = call
        self._timeouts = timeouts if call.total_s is None else replace(timeouts, total_s=call.total_s)
        self._clock = clock
        self._deadline = clock() + self._timeouts.total_s
        self._attempt = 0

    def left(self) -> Timeouts:
        """What the next attempt may take. Raises TimedOut when no time is left."""
        left_s = self._deadline - self._clock()
        if left_s <= 0:
            message = f"{self.call.path} is not answered in total_s = {self._timeouts.total_s:g}: raise the time-out"
            raise TimedOut(message, request_id=self.call.id)
        return Timeouts(min(self._timeouts.connect_s, left_s), min(self._timeouts.read_s, left_s), left_s)

    def pause_s(self, error: FivefoldError, uniform: float) -> float:
        """The pause before the next attempt. Raises `error` where there is none."""
        pause_s = backoff_s(self._attempt, error, uniform)
        self._attempt += 1
        if pause_s is None or self._attempt > self.call.max_retries or self._clock() + pause_s >= self._deadline:
            raise error
        return pause_s
