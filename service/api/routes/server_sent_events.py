"""Events -> server-sent events: every step, every finished item, and the whole answer at the end."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from typing import Protocol

from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from fivefold.errors import FivefoldError
from fivefold.operation import EVENT_STREAM_TYPE, AnyOperation
from service.api.access.middleware import client_error_of
from service.api.execution.outcome import Outcome
from service.api.execution.submission import Submission
from service.api.media import offload
from service.api.media.problem_json import problem
from service.api.media.response_body import (
    Rendered,
    document,
    encode_json,
    image_fields,
    item_type,
    items_of,
    with_pictures,
)
from service.broker.base import Producer
from service.families.pipeline import Fields, Results
from service.jobs import Events

HEADERS = {"x-accel-buffering": "no"}
PING, PING_SECONDS = b": ping\n\n", 15.0


class EventStream(StreamingResponse):
    """Sends frames, one at a time: nothing is made for a reader who does not read.

    After `ping_seconds` of silence it sends a comment, for proxies close what they take for dead. `watched`: another
    task listens for the end of the connection.
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


class FrameWriter(Protocol):
    """The frames of one dialect. An event's identity is (row, step)."""

    def chunk(self, row: int, step: int, fields: Fields) -> bytes: ...

    def item(self, step: int, item: Fields) -> bytes:
        """Of one that has finished, or failed."""
        ...

    def done(self, answer: Rendered) -> bytes: ...

    def error(self, error: FivefoldError, request_id: str) -> bytes: ...


class NativeFrames:
    """FrameWriter of the native routes: items and answers as in JSON, errors as problem documents."""

    def __init__(self, operation: AnyOperation) -> None:
        self._item_images = image_fields(item_type(operation))
        self._chunk_images = frozenset[str]() if operation.chunk is None else image_fields(operation.chunk)

    def chunk(self, row: int, step: int, fields: Fields) -> bytes:
        return _frame("chunk", with_pictures({"index": row, **fields}, self._chunk_images), f"{row}.{step}")

    def item(self, step: int, item: Fields) -> bytes:
        return _frame("item", with_pictures(item, self._item_images), f"{item['index']}.{step}")

    def done(self, answer: Rendered) -> bytes:
        return _frame("done", document(answer))

    def error(self, error: FivefoldError, request_id: str) -> bytes:
        return _frame("error", problem(error, request_id))


class StreamedOutcome:
    """The frames of an outcome's events, one for each item and step. Chunks build on those before them."""

    def __init__(self, outcome: Outcome, writer: FrameWriter) -> None:
        self.outcome, self.writer, self._state = outcome, writer, Fields()

    def frames(self, events: Events) -> Iterator[bytes]:
        """In the order of the block's rows."""
        if events.kind == "step":
            yield from self._chunks(events)
        else:
            for step, item in zip(events.steps.tolist(), self._items(events), strict=True):
                yield self.writer.item(step, item)

    def _items(self, ends: Events) -> list[Fields]:
        if ends.kind == "failed":
            return list(self.outcome.failures([ends]).values())
        return items_of(self.outcome.fields(Results(ends.rows, ends.columns)))

    def _chunks(self, events: Events) -> Iterator[bytes]:
        for place, (row, step) in enumerate(zip(events.rows.tolist(), events.steps.tolist(), strict=True)):
            fields = self.outcome.chunk(events, place, self._state)
            if fields is not None:
                yield self.writer.chunk(row, step, fields)

    def skip(self, events: Events) -> None:
        """Note what the chunks after these events build on."""
        if events.kind == "step":
            for place in range(len(events)):
                self.outcome.chunk(events, place, self._state)

    async def all_frames(self, events: AsyncIterator[Events], request_id: str) -> AsyncGenerator[bytes]:
        """The frames of the events, and at their end the whole answer, or the error that there is instead."""
        try:
            async for block in events:
                for frame in self.frames(block):
                    yield frame
                    await asyncio.sleep(0)  # a long backlog must not delay others, or the end of the connection
            many = self.outcome.prepared.count > offload.MANY_ROWS
            yield await offload.run(lambda: self.writer.done(self.outcome.rendered()), large=many)
        except Exception as error:
            yield self.writer.error(client_error_of(error, request_id), request_id)


async def event_stream(submission: Submission, producer: Producer, receive: Receive, request_id: str) -> EventStream:
    """Submit, and answer as it happens. Raises what submitting raises; later errors are events."""
    await submission.submit(producer, stream=True)
    return EventStream(_submitted(submission, producer, receive, request_id), watched=True)


async def _submitted(
    submission: Submission, producer: Producer, receive: Receive, request_id: str
) -> AsyncGenerator[bytes]:
    streamed = StreamedOutcome(submission, NativeFrames(submission.pipeline.operation))
    async with submission.while_connected(receive, producer):
        async for frame in streamed.all_frames(submission.events(producer), request_id):
            yield frame


def _frame(name: str, data: object, event_id: str | None = None) -> bytes:
    identity = f"id: {event_id}\n" if event_id is not None else ""
    return f"event: {name}\n{identity}data: ".encode() + encode_json(data) + b"\n\n"
