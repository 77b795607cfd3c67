"""Events -> server-sent events: every step, every finished item, and the whole answer at the end."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from starlette.requests import Request as HttpRequest
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from fivefold.operation import EVENT_STREAM_TYPE
from service.api.encoding import aside, document, encode_json, image_fields, item_type, with_pictures
from service.api.outcome import Outcome
from service.api.problems import problem
from service.api.security import public
from service.api.submission import Submission
from service.broker.base import Producer
from service.families.pipeline import Fields
from service.jobs import Event

HEADERS = {"x-accel-buffering": "no"}
MANY_ROWS = 8
PING, PING_SECONDS = b": ping\n\n", 15.0


class EventStream(StreamingResponse):
    """Sends what its frames are, one at a time. `watched`: somebody else listens for the end of the connection."""

    def __init__(self, frames: AsyncGenerator[bytes], *, watched: bool = False) -> None:
        self.frames, self.watched = kept_alive(frames, PING_SECONDS), watched
        super().__init__(self.frames, 200, HEADERS, EVENT_STREAM_TYPE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self.frames):
            await (self.stream_response(send) if self.watched else super().__call__(scope, receive, send))


async def kept_alive(frames: AsyncGenerator[bytes], seconds: float) -> AsyncGenerator[bytes]:
    """The frames, and a comment after each `seconds` of silence: proxies close what they take for dead."""
    async with aclosing(frames):
        while True:
            following = asyncio.ensure_future(anext(frames, None))
            try:
                while not (await asyncio.wait([following], timeout=seconds))[0]:
                    yield PING
            finally:
                if not following.done():
                    following.cancel()
                    await asyncio.wait([following])
            if (frame := following.result()) is None:
                return
            yield frame


async def event_stream(submission: Submission, producer: Producer, http: HttpRequest) -> EventStream:
    """Submit, and answer as it happens. Raises what submitting raises; later errors are events."""
    await submission.submit(producer, stream=True)
    return EventStream(_submitted(submission, producer, http), watched=True)


async def _submitted(submission: Submission, producer: Producer, http: HttpRequest) -> AsyncGenerator[bytes]:
    async with submission.while_connected(http, producer):
        async for frame in frames_of(submission, Steps(submission), submission.events(producer), http):
            yield frame


class Steps:
    """The frames of single events. Chunks build on those before them, so none may be left out."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome, self._state = outcome, Fields()

    def frame(self, event: Event) -> bytes | None:
        """None where the event shows nothing."""
        operation = self.outcome.pipeline.operation
        if event.terminal:
            item = self.outcome.item(event)
            return _frame("item", with_pictures(item, image_fields(item_type(operation))), event.id)
        fields = self.skip(event)
        if fields is None or operation.chunk is None:
            return None
        return _frame("chunk", with_pictures({"index": event.row, **fields}, image_fields(operation.chunk)), event.id)

    def skip(self, event: Event) -> Fields | None:
        """What the chunks after this event build on."""
        return None if event.terminal else self.outcome.chunk(event, self._state)


async def frames_of(
    outcome: Outcome, steps: Steps, events: AsyncIterator[Event], http: HttpRequest
) -> AsyncGenerator[bytes]:
    """A frame for each of the events, and at their end the whole answer, or the error that there is instead."""
    try:
        async for event in events:
            if (frame := steps.frame(event)) is not None:
                yield frame
            await asyncio.sleep(0)  # a long backlog must not keep others, or the end of the connection, waiting
        many = len(outcome.prepared) > MANY_ROWS
        yield await aside(lambda: _frame("done", document(outcome.rendered())), large=many)
    except Exception as error:
        request_id = http.state.request_id
        yield _frame("error", problem(public(error, request_id), request_id))


def _frame(name: str, data: object, event_id: str | None = None) -> bytes:
    identity = f"id: {event_id}\n" if event_id is not None else ""
    return f"event: {name}\n{identity}data: ".encode() + encode_json(data) + b"\n\n"
