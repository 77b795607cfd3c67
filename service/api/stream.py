"""Events -> server-sent events: every step, every finished item, and the whole answer at the end."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from starlette.requests import Request as HttpRequest
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from fivefold.operation import EVENT_STREAM_TYPE
from service.api.encoding import aside, document, encode_json, image_fields, item_type, with_pictures
from service.api.problems import problem
from service.api.security import public
from service.api.submission import Submission
from service.broker.base import Producer
from service.families.pipeline import Fields
from service.jobs import Event

HEADERS = {"x-accel-buffering": "no"}
MANY_ROWS = 8


class EventStream(StreamingResponse):
    """Sends what its iterator yields. The submission, and nobody else, listens for the end of the connection."""

    def __init__(self, frames: AsyncGenerator[bytes]) -> None:
        super().__init__(frames, 200, HEADERS, EVENT_STREAM_TYPE)
        self.frames = frames

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self.frames):
            await self.stream_response(send)


async def event_stream(submission: Submission, producer: Producer, http: HttpRequest) -> EventStream:
    """Submit, and answer as it happens. Raises what submitting raises; later errors are events."""
    await submission.submit(producer, stream=True)
    return EventStream(_frames(submission, producer, http))


async def _frames(submission: Submission, producer: Producer, http: HttpRequest) -> AsyncGenerator[bytes]:
    state: Fields = {}
    try:
        async with submission.while_connected(http, producer):
            async for event in submission.events(producer):
                if (frame := _frame_of(submission, event, state)) is not None:
                    yield frame
                await asyncio.sleep(0)  # a long backlog must not keep others, or the end of the connection, waiting
        many = len(submission.prepared) > MANY_ROWS
        yield await aside(lambda: _frame("done", document(submission.rendered())), large=many)
    except Exception as error:
        request_id = http.state.request_id
        yield _frame("error", problem(public(error, request_id), request_id))


def _frame_of(submission: Submission, event: Event, state: Fields) -> bytes | None:
    operation, request = submission.pipeline.operation, submission.request
    if event.terminal:
        return _frame("item", with_pictures(submission.item(event), image_fields(item_type(operation))), event.id)
    fields = submission.pipeline.chunk(request, event, state, submission.served.model)
    if fields is None or operation.chunk is None:
        return None
    return _frame("chunk", with_pictures({"index": event.row, **fields}, image_fields(operation.chunk)), event.id)


def _frame(name: str, data: object, event_id: str | None = None) -> bytes:
    identity = f"id: {event_id}\n" if event_id is not None else ""
    return f"event: {name}\n{identity}data: ".encode() + encode_json(data) + b"\n\n"
