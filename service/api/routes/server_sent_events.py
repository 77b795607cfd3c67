"""Events -> server-sent events: every step, every finished item, and the whole answer at the end."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from starlette.requests import Request as HttpRequest
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from fivefold.operation import EVENT_STREAM_TYPE
from service.api.access.middleware import public
from service.api.execution.outcome import Outcome
from service.api.execution.submission import Submission
from service.api.media.offload import MANY_ROWS, aside
from service.api.media.problem_json import problem
from service.api.media.response_body import document, encode_json, image_fields, item_type, with_pictures
from service.broker.base import Producer
from service.families.pipeline import Fields
from service.jobs import Event

HEADERS = {"x-accel-buffering": "no"}
PING, PING_SECONDS = b": ping\n\n", 15.0


class EventStream(StreamingResponse):
    """Sends frames, one at a time: nothing is made for a reader who does not read.

    After `ping_seconds` of silence it sends a comment, for proxies close what they take for dead. `watched`: somebody
    else listens for the end of the connection.
    """

    def __init__(
        self, frames: AsyncGenerator[bytes], *, watched: bool = False, ping_seconds: float = PING_SECONDS
    ) -> None:
        super().__init__(frames, 200, HEADERS, EVENT_STREAM_TYPE)
        self.frames, self.watched, self.ping_seconds = frames, watched, ping_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self.frames):
            await (self.stream_response(send) if self.watched else super().__call__(scope, receive, send))

    async def stream_response(self, send: Send) -> None:
        now = asyncio.get_running_loop().time
        sent_at = now()

        async def marked(message: Message) -> None:
            nonlocal sent_at
            if not message.get("more_body", True):
                pinger.cancel()
            await send(message)
            sent_at = now()

        async def ping() -> None:
            while True:
                if (left_seconds := sent_at + self.ping_seconds - now()) > 0:
                    await asyncio.sleep(left_seconds)
                else:
                    await marked({"type": "http.response.body", "body": PING, "more_body": True})

        pinger = asyncio.create_task(ping())
        try:
            await super().stream_response(marked)
        finally:
            pinger.cancel()


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
