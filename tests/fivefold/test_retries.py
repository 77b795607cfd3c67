"""What a failed answer means, and when to try again."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fivefold.calls import Call, Exchange, Timeouts
from fivefold.errors import (
    FivefoldError,
    InternalError,
    Invalid,
    InvalidInput,
    NotReady,
    QueueFull,
    RowFailed,
    TimedOut,
    TransportError,
)
from fivefold.retries import FIRST_PAUSE_S, LONGEST_PAUSE_S, backoff_s, error_from, retry_after_s

uniforms = st.floats(0, 1, exclude_max=True)
attempts = st.integers(0, 10**9)


@given(attempts, uniforms, st.none() | st.floats(0, 60))
def test_a_pause_is_never_shorter_than_asked_and_never_much_longer(
    attempt: int, uniform: float, asked_s: float | None
) -> None:
    pause_s = backoff_s(attempt, QueueFull("full", retry_after_s=asked_s), uniform)
    assert pause_s is not None
    assert (asked_s or 0) <= pause_s <= (asked_s or 0) + LONGEST_PAUSE_S


@given(attempts, uniforms)
def test_what_cannot_succeed_is_not_tried_again(attempt: int, uniform: float) -> None:
    assert backoff_s(attempt, InvalidInput("wrong"), uniform) is None
    assert backoff_s(attempt, RowFailed("alone"), uniform) is None
    assert backoff_s(attempt, QueueFull("an hour", retry_after_s=3600), uniform) is None


def test_the_longest_pause_doubles_up_to_its_limit() -> None:
    pauses = [backoff_s(attempt, NotReady("soon"), 1.0) for attempt in range(6)]
    assert pauses == [FIRST_PAUSE_S, 1.0, 2.0, 4.0, LONGEST_PAUSE_S, LONGEST_PAUSE_S]


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "9", "retry-after-ms": "250"}, 0.25),
        ({"retry-after": "Mon, 23 Nov 2026 10:00:07 GMT", "date": "Mon, 23 Nov 2026 10:00:00 GMT"}, 7.0),
        ({"retry-after": "Mon, 23 Nov 2026 09:00:00 GMT", "date": "Mon, 23 Nov 2026 10:00:00 GMT"}, 0.0),
        ({"retry-after": "Mon, 23 Nov 2026 10:00:07 GMT"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after-ms": "inf"}, None),
    ],
)
def test_retry_after_is_read_in_every_form_and_nonsense_is_ignored(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert retry_after_s(headers) == seconds


def test_a_problem_becomes_its_class_with_everything_it_says() -> None:
    body = b"""{"type": "about:blank", "title": "Invalid input", "status": 422, "detail": "n: 0 given, at least 1",
        "code": "invalid_input", "request_id": "r1", "errors": [{"place": "n", "message": "0 given, at least 1"}]}"""
    error = error_from(422, {}, body, "ours")
    assert type(error) is InvalidInput
    assert str(error) == "n: 0 given, at least 1"
    assert error.invalid == (Invalid(place="n", message="0 given, at least 1"),)
    assert (error.request_id, error.retryable) == ("r1", False)


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (408, TimedOut, True),
        (429, QueueFull, True),
        (500, InternalError, True),
        (502, TransportError, True),
        (503, NotReady, True),
        (504, TimedOut, True),
        (418, FivefoldError, False),
        (422, InvalidInput, False),
        (307, FivefoldError, False),
        (599, InternalError, True),
    ],
)
@pytest.mark.parametrize(
    "body", [b"", b"<html>\xff</html>", b"[1]", b'{"code": 7}', b'{"code": "n\xc3\xbc", "detail": "x"}']
)
def test_a_body_that_is_no_problem_of_ours_is_judged_by_its_status(
    status: int, kind: type[FivefoldError], retryable: bool, body: bytes
) -> None:
    error = error_from(status, {"x-request-id": "theirs"}, body, "ours")
    assert isinstance(error, kind)
    assert (error.retryable, error.request_id) == (retryable, "theirs")


def test_the_service_has_the_last_word_on_a_retry() -> None:
    body = b'{"code": "internal", "detail": "no"}'
    assert not error_from(500, {"x-should-retry": "false"}, body, "").retryable
    assert error_from(409, {"x-should-retry": "true"}, b"", "").retryable
    assert error_from(500, {"x-should-retry": "perhaps"}, body, "").retryable


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_call_ends_with_its_last_error_when_the_pause_would_pass_its_time_out() -> None:
    clock = Clock()
    exchange = Exchange(Call("GET", "/x", max_retries=9), Timeouts(total_s=10), clock)
    assert exchange.pause_s(QueueFull("full", retry_after_s=4), 0.0) == 4
    clock.now += 4
    assert exchange.left().total_s == 6
    with pytest.raises(QueueFull):
        exchange.pause_s(QueueFull("full", retry_after_s=6), 0.0)


def test_no_attempt_begins_after_the_total_time_out() -> None:
    clock = Clock()
    exchange = Exchange(Call("GET", "/x"), Timeouts(total_s=10), clock)
    clock.now += 10
    with pytest.raises(TimedOut, match="total_s = 10"):
        exchange.left()


def test_a_call_is_tried_once_and_then_as_often_as_it_says() -> None:
    exchange = Exchange(Call("GET", "/x", max_retries=2), Timeouts(total_s=inf), Clock())
    error = NotReady("soon")
    assert [exchange.pause_s(error, 0.5), exchange.pause_s(error, 0.5)] == [0.25, 0.5]
    with pytest.raises(NotReady):
        exchange.pause_s(error, 0.5)
