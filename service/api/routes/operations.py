"""One route per operation: read, prepare, submit, wait, render, encode."""

import hashlib
import time
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from fivefold.operation import EVENT_STREAM_TYPE
from service.api.access.keys import Tenant
from service.api.access.middleware import require
from service.api.execution.context import ApiContext
from service.api.execution.submission import Caller, Submission, prepare
from service.api.media import offload
from service.api.media.negotiation import negotiate
from service.api.media.request_body import read_body, read_request
from service.api.media.response_body import encode
from service.api.routes.jobs import accepted
from service.api.routes.server_sent_events import event_stream
from service.families.pipeline import Pipeline


class OperationEndpoint:
    """POST /v1/{family}/{operation}, as an ASGI application of its own: no layer lies between it and the middleware."""

    def __init__(self, context: ApiContext, pipeline: Pipeline[Any]) -> None:
        operation = pipeline.operation
        self.context, self.pipeline, self.path = context, pipeline, operation.path
        self.offered = (*operation.answers, *([EVENT_STREAM_TYPE] if operation.chunk else []))

    @property
    def route(self) -> Route:
        """For the route table: the document of all routes, and the refusal of other methods."""
        operation = self.pipeline.operation
        return Route(self.path, self, methods=["POST"], name=f"{operation.family}-{operation.name}")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["route"] = self  # names the metrics
        media_type = negotiate(scope["state"]["headers"].get("accept", "*/*"), self.offered)
        submission = await self._prepare(scope, receive)
        response = await self._answer(submission, media_type, scope, receive)
        await response(scope, receive, send)

    async def _prepare(self, scope: Scope, receive: Receive) -> Submission:
        """Everything before the queue. Raises what a client can do wrong, and NotReady."""
        arrived_at, headers, operation = time.time(), scope["state"]["headers"], self.pipeline.operation
        tenant: Tenant = scope["state"]["tenant"]
        require(tenant, operation.scope)
        body = await read_body(headers, receive, self.context.settings.max_body_bytes)
        large = len(body) > offload.LARGE_BYTES
        content_type, query = headers.get("content-type", ""), scope["query_string"]
        max_rows = self.context.settings.max_rows
        asked = await offload.run(lambda: read_request(operation, content_type, query, body, max_rows), large=large)
        key = headers.get("idempotency-key")
        caller = Caller(
            tenant=tenant,
            arrived_at=arrived_at,
            idempotency_key=key,
            body_sha256="" if key is None else _asked_sha256(scope, content_type, body),
            detached="prefer" in headers and prefers_async(scope),
        )
        return await prepare(self.context, self.pipeline, asked, caller, large=large)

    async def _answer(self, submission: Submission, media_type: str, scope: Scope, receive: Receive) -> Response:
        producer = self.context.producer
        if submission.detached:
            await submission.submit(producer, stream=True)
            status = await self.context.jobs.status(submission.job_ids[0], submission.caller.tenant.name)
            return accepted(status, self.context.settings.root_path)
        if media_type == EVENT_STREAM_TYPE:
            return await event_stream(submission, producer, receive, scope["state"]["request_id"])
        await submission.submit(producer, stream=False)
        async with submission.while_connected(receive, producer):
            await submission.collect(producer)
        many = submission.prepared.count > offload.MANY_ROWS
        return await offload.run(lambda: encode(media_type, submission.rendered()), large=many)


def prefers_async(scope: Scope) -> bool:
    """RFC 7240: `Prefer: respond-async`, among other preferences or alone."""
    values = [value.decode("latin-1") for name, value in scope["headers"] if name == b"prefer"]
    return any(one.partition(";")[0].strip().lower() == "respond-async" for one in ",".join(values).split(","))


def _asked_sha256(scope: Mapping[str, Any], content_type: str, body: bytes) -> str:
    """What an idempotency key stands for: the same bytes mean another thing elsewhere, or as another media type."""
    place = "\n".join((scope["path"], scope["query_string"].decode("latin-1"), content_type, ""))
    return hashlib.sha256(place.encode() + body).hexdigest()
