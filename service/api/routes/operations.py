"""One route per operation, made by one function."""

import hashlib
import time
from typing import Any

from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from fivefold.errors import InvalidInput
from fivefold.operation import EVENT_STREAM_TYPE, SamplingRequest, SeededRequest
from service import rng
from service.api.access.middleware import require
from service.api.execution.context import Rooms
from service.api.execution.submission import Submission
from service.api.media.negotiation import negotiate
from service.api.media.offload import LARGE_BYTES, MANY_ROWS, aside
from service.api.media.request_body import read_body, read_request
from service.api.media.response_body import encode
from service.api.routes.jobs import accepted
from service.api.routes.server_sent_events import event_stream
from service.families.pipeline import Pipeline


def operation_route(rooms: Rooms, pipeline: Pipeline[Any]) -> Route:
    """POST /v1/{family}/{operation}: read, prepare, submit, wait, render, encode."""
    operation = pipeline.operation
    offered = (*operation.answers, *([EVENT_STREAM_TYPE] if operation.chunk else []))

    async def answer(http: HttpRequest) -> Response:
        http.scope["route"] = route  # names the metrics
        media_type = negotiate(http.headers.get("accept", "*/*"), offered)
        submission = await _prepare(rooms, pipeline, http)
        if submission.detached:
            await submission.submit(rooms.producer, stream=True)
            return accepted(await rooms.jobs.status(submission.job_ids[0], submission.tenant.name))
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
    large = len(body) > LARGE_BYTES
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
    return Submission(
        request=request,
        pipeline=pipeline,
        model=served.model,
        prepared=prepared,
        arrived_at=arrived_at,
        served=served,
        waiting=rooms.waiting,
        tenant=tenant,
        detached=pipeline.session_kind is not None and prefers_async(http),
        idempotency_key=key,
        asked_sha256=asked_sha256,
        traceparent=http.headers.get("traceparent"),
    )


def prefers_async(http: HttpRequest) -> bool:
    """RFC 7240: `Prefer: respond-async`, among other preferences or alone."""
    preferences = ",".join(http.headers.getlist("prefer")).split(",")
    return any(one.partition(";")[0].strip().lower() == "respond-async" for one in preferences)


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
