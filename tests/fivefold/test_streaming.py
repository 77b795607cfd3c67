"""Server-sent events in pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fivefold import flow
from fivefold.errors import ConnectionFailed
from fivefold.streaming import AnswerReader, EventParser, ServerEvent

lines = st.sampled_from(
    [
        "data: a",
        "data:  b",
        "data",
        "data:ü",
        ": comment",
        "event: chunk",
        "id: 0.1",
        "id: x\0y",
        "retry: 9",
        "?",
        "",
        "",
    ]
)


def events_of(pieces: list[bytes]) -> list[ServerEvent]:
    parser = EventParser()
    return [event for piece in pieces for event in parser.feed(piece)]


@given(st.lists(lines), st.sampled_from(["\n", "\r", "\r\n"]), st.data())
def test_pieces_of_any_size_and_any_line_end_give_the_same_events(
    texts: list[str], end: str, data: st.DataObject
) -> None:
    stream = "".join(text + end for text in texts).encode() + end.encode()
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)))))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    whole = events_of(["".join(text + "\n" for text in texts).encode() + b"\n"])
    # A lone CR at the end may be half a CRLF: the empty line it ends is known at once, so nothing is held back.
    assert events_of(pieces) == whole


def test_fields_are_read_as_the_standard_says() -> None:
    stream = (
        b": hello\r\nevent: chunk\r\nid: 3.1\r\ndata: first\r\ndata:  second\r\n\r\ndata\n\nevent: lost\n\ndata: x\n\n"
    )
    assert events_of([stream]) == [
        ServerEvent("chunk", "first\n second", "3.1"),
        ServerEvent("message", "", "3.1"),
        ServerEvent("message", "x", "3.1"),
    ]


def test_an_event_without_its_empty_line_is_not_an_event() -> None:
    assert events_of([b"event: done\ndata: {}\n"]) == []


def test_a_long_line_in_many_pieces_is_joined_once() -> None:
    pieces = [b"data: ", *[b"x" * 1000] * 1000, b"\n\n"]
    (event,) = events_of(pieces)
    assert len(event.data) == 10**6


def test_a_stream_without_its_answer_is_a_failed_connection() -> None:
    reader = AnswerReader(flow.SAMPLE, "id-1")
    assert list(reader.feed(b"event: item\ndata: {}\n\n: still here\n\n")) == []
    with pytest.raises(ConnectionFailed) as caught:
        reader.finish()
    assert caught.value.request_id == "id-1"
