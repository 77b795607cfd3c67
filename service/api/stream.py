"""Events -> server-sent events: every step, every finished item, and the whole answer at the end."""

from collections.abc import AsyncIterator

from starlette.responses import StreamingResponse

from fivefold.errors import FivefoldError
from fivefold.operation import EVENT_STREAM_TYPE
from service.api.encoding import document, encode_json, image_fields, item_type, with_pictures
from service.api.problems import problem
from service.api.submission import Submission
from service.broker.base import Producer
from service.families.pipeline import Fields
from service.jobs import Event

HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}


async def event_stream(submission: Submission, producer: Producer, request_id: str) -> StreamingResponse:
    """Submit, and answer as it happens. Raises what submitting raises; later errors are events."""
    await submission.submit(producer, stream=True)
    return StreamingResponse(_frames(submission, producer, request_id), 200, HEADERS, EVENT_STREAM_TYPE)


async def _frames(submission: Submission, producer: Producer, request_id: str) -> AsyncIterator[bytes]:
    state: Fields = {}
    try:
        async for event in submission.events(producer):
            if (frame := _frame_of(submission, event, state)) is not None:
                yield frame
        yield _frame("done", document(submission.rendered()))
    except FivefoldError as error:
        yield _frame("error", problem(error, request_id))
    finally:
        await submission.leave(producer)


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
