"""One route per operation, made by one function."""

import hashlib
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from fivefold.errors import InvalidInput
from fivefold.operation import EVENT_STREAM_TYPE, SamplingRequest, SeededRequest
from service import rng
from service.api.bodies import read_request
from service.api.catalogue import Catalogue
from service.api.encoding import aside, encode, negotiate
from service.api.security import read_body, require
from service.api.stream import event_stream
from service.api.submission import Submission
from service.broker.base import Producer
from service.families.pipeline import Pipeline
from service.settings import Settings

LARGE_BODY_BYTES, MANY_ROWS = 32_768, 8


@dataclass(frozen=True)
class Rooms:
    """What a route works with."""

    settings: Settings
    producer: Producer
    catalogue: Catalogue
    waiting: Counter[str] = field(default_factory=Counter)  # requests by the job they wait for


def operation_route(rooms: Rooms, pipeline: Pipeline[Any]) -> Route:
    """POST /v1/{family}/{operation}: read, prepare, submit, wait, render, encode."""
    operation = pipeline.operation
    offered = (*operation.answers, *([EVENT_STREAM_TYPE] if operation.chunk else []))

    async def answer(http: HttpRequest) -> Response:
        http.scope["route"] = route  # names the metrics
        media_type = negotiate(http.headers.get("accept", "*/*"), offered)
        submission = await _prepare(rooms, pipeline, http)
        if media_type == EVENT_STREAM_TYPE:
            return await event_stream(submission, rooms.producer, http)
        await submission.submit(rooms.producer, stream=False)
        async with submission.while_connected(http, rooms.producer):
            async for _ in submission.events(rooms.producer):
                pass
        many = len(submission.prepared) > MANY_ROWS
        return await aside(lambda: encode(media_type, submission.rendered()), large=many)

    route = Route(operation.path, answer, methods=["POST"], name=f"{operation.family}-{operation.name}")
    return route


async def _prepare(rooms: Rooms, pipeline: Pipeline[Any], http: HttpRequest) -> Submission:
    """Everything before the queue. Raises what a client can do wrong, and NotReady."""
    arrived_at, key = time.time(), http.headers.get("idempotency-key")
    tenant = require(http, pipeline.operation.scope)
    body = await read_body(http, rooms.settings.max_body_bytes)
    large = len(body) > LARGE_BODY_BYTES
    content_type = http.headers.get("content-type", "")
    asked = await aside(lambda: read_request(pipeline.operation, content_type, http.query_params, body), large=large)
    served = await rooms.catalogue.find(asked.model, pipeline.operation.family)
    request = effective(asked, str(served.model.ref), key)
    prepared = await aside(lambda: pipeline.prepare(request, served.model), large=large)
    if len(prepared) > rooms.settings.max_rows:
        raise InvalidInput(
            f"{len(prepared)} items given, the limit is {rooms.settings.max_rows}: send several requests"
        )
    asked_sha256 = _asked_sha256(http, body) if key is not None else ""
    traceparent = http.headers.get("traceparent")
    return Submission(
        request, pipeline, served, prepared, arrived_at, rooms.waiting, tenant, key, asked_sha256, traceparent
    )


def effective(asked: SeededRequest, model: str, idempotency_key: str | None) -> SeededRequest:
    """The request as it will be run and echoed: its model resolved and its seed drawn.

    A repeated idempotency key must mean the same job, so it decides the seed that is not given.
    """
    update: dict[str, Any] = {"model": model}
    if asked.seed is None and asked.seeds is None:
        update["seed"] = _seed(idempotency_key) if isinstance(asked, SamplingRequest) else 0
    return asked.model_copy(update=update)


def _seed(idempotency_key: str | None) -> int:
    if idempotency_key is None:
        return rng.draw_seed()
    return int.from_bytes(hashlib.sha256(idempotency_key.encode()).digest()[:8], "big") % rng.DRAWN_SEED_LIMIT


def _asked_sha256(http: HttpRequest, body: bytes) -> str:
    """What an idempotency key stands for: the same bytes mean another thing elsewhere, or as another media type."""
    place = "\n".join((http.url.path, http.url.query, http.headers.get("content-type", ""), ""))
    return hashlib.sha256(place.encode() + body).hexdigest()
