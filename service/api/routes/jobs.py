"""Asynchronous jobs: their state and their answer, their events from any place on, cancelling, listing."""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote

import numpy as np
from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response

from fivefold.errors import InvalidInput
from fivefold.jobs import JobDocument, JobPage
from fivefold.operation import CSV_TYPE, EVENT_STREAM_TYPE, JSON_TYPE, NPY_TYPE, PNG_TYPE
from service.api.access.keys import Tenant
from service.api.execution.context import ApiContext
from service.api.execution.job_documents import ended_document, job_document
from service.api.media import offload
from service.api.media.negotiation import negotiate
from service.api.media.response_body import encode, encode_json
from service.api.routes.server_sent_events import EventStream, NativeFrames, StreamedOutcome
from service.broker.base import JobStatus
from service.jobs import Events

Accept = Annotated[str, Header(include_in_schema=False)]
JOBS_PATH, EVENTS_PATH = "/v1/jobs", "/events"
EVENT_ID, CURSOR = re.compile(r"([0-9]{1,10})\.([0-9]{1,10})", re.ASCII), re.compile(r"[0-9]{1,20}", re.ASCII)
RETRY_AFTER = {"retry-after": "1"}
ANSWERS: dict[str, Any] = {media: {} for media in (NPY_TYPE, PNG_TYPE, CSV_TYPE)}
EVENTS: dict[str, Any] = {EVENT_STREAM_TYPE: {"schema": {"type": "string"}}}


def accepted(status: JobStatus, root_path: str) -> Response:
    """202: where the job is, and what it is."""
    headers = {
        "location": f"{root_path}{JOBS_PATH}/{quote(status.id, safe='@')}",
        "preference-applied": "respond-async",
    }
    return Response(job_document(status).model_dump_json(), 202, headers, JSON_TYPE)


def jobs_router(context: ApiContext) -> APIRouter:
    """Each tenant sees its own jobs alone: all others are not found."""
    router, routes = APIRouter(prefix=JOBS_PATH, tags=["jobs"]), JobRoutes(context)
    one = "/{job_id}"
    router.add_api_route("", routes.page, summary="A page of jobs, newest first", response_model=JobPage)
    router.add_api_route(
        one,
        routes.show,
        summary="A job: its state, and once it has ended its answer, in any of the operation's media types",
        response_model=JobDocument,
        responses={200: {"content": ANSWERS}, 202: {"model": JobDocument, "description": "Not finished: ask again"}},
    )
    router.add_api_route(
        one,
        routes.cancel,
        methods=["DELETE"],
        summary="Cancel a job at its next step; one that has ended stays as it is",
        response_model=JobDocument,
    )
    router.add_api_route(
        f"{one}{EVENTS_PATH}",
        routes.follow,
        summary="Every step and every item as it ends, then the answer; from the beginning, or after an event",
        response_class=Response,
        responses={200: {"content": EVENTS}},
    )
    return router


@dataclass(frozen=True)
class JobRoutes:
    """One method per route. Raises NotFound for what is no job of the tenant."""

    context: ApiContext

    async def page(
        self, request: Request, cursor: str | None = Query(None, description="`next` of another page")
    ) -> Response:
        if cursor is not None and not CURSOR.fullmatch(cursor):
            raise InvalidInput.at("cursor", f"cursor {cursor[:60]!r} given: take it from `next` of another page")
        statuses, following = await self.context.jobs.page(tenant_of(request), cursor)
        content = JobPage(jobs=[job_document(status) for status in statuses], next=following)
        return Response(content.model_dump_json(), media_type=JSON_TYPE)

    async def show(self, request: Request, job_id: str, accept: Accept = "*/*") -> Response:
        tenant = tenant_of(request)
        status = await self.context.jobs.status(job_id, tenant)
        media_type = negotiate(accept, self.context.pipelines[status.operation].operation.answers)
        if status.alive:
            content, waits = job_document(status).model_dump_json(), media_type != JSON_TYPE
            return Response(content, 202 if waits else 200, RETRY_AFTER if waits else None, JSON_TYPE)
        outcome = await self.context.jobs.ended(status, tenant)

        def answer() -> Response:
            if media_type != JSON_TYPE:
                return encode(media_type, outcome.rendered())
            return Response(encode_json(ended_document(status, outcome)), media_type=JSON_TYPE)

        return await offload.run(answer, large=outcome.prepared.count > offload.MANY_ROWS)

    async def cancel(self, request: Request, job_id: str) -> Response:
        await self.context.jobs.cancel(job_id, tenant_of(request))
        return await self.show(request, job_id)

    async def follow(
        self,
        request: Request,
        job_id: str,
        accept: Accept = "*/*",
        last_event_id: str = Header("", description='"row.index" of the last event that was seen'),
    ) -> Response:
        tenant, jobs = tenant_of(request), self.context.jobs
        outcome = await jobs.restore(await jobs.status(job_id, tenant), tenant)
        negotiate(accept, (EVENT_STREAM_TYPE,))
        streamed = StreamedOutcome(outcome, NativeFrames(outcome.pipeline.operation))
        following = outcome.events(self.context.producer)
        if last_event_id:
            following = _resumed(await _skip(streamed, following, last_event_id), following)
        return EventStream(streamed.all_frames(following, request.state.request_id))


def tenant_of(request: Request) -> str:
    """Whose jobs a request may see."""
    tenant: Tenant = request.state.tenant
    return tenant.name


async def _skip(streamed: StreamedOutcome, following: AsyncIterator[Events], last: str) -> list[Events]:
    """Read up to and including the last event that the client has seen; what was read beyond it is returned.

    A step that the queue does not hold any more went with all that came before it in its job: then everything that is
    left of the job is beyond it. Raises InvalidInput where it is no event. It may have been lost with a worker or a
    queue: then it is on its way again, at the latest with the end of its row.
    """
    message = f"last-event-id {last[:60]!r} is no event of this job: leave it out to start from the beginning"
    if (found := EVENT_ID.fullmatch(last)) is None or int(found[1]) not in streamed.outcome.prepared.block.rows:
        raise InvalidInput.at("last-event-id", message)
    row, step = int(found[1]), int(found[2])
    skipped: list[Events] = []
    earlier = False
    async for events in following:
        if skipped and skipped[0].job_id != events.job_id:
            skipped.clear()
        seen = np.flatnonzero(events.rows == row)
        reached = int(events.steps[seen[0]]) if seen.size else -1
        if reached == step:
            after = int(seen[0]) + 1
            for one in (*skipped, events.select(slice(0, after))):
                streamed.skip(one)
            return [events.select(slice(after, len(events)))]
        skipped.append(events)
        if reached > step and not earlier:
            return skipped
        if seen.size and events.terminal:
            break
        earlier = earlier or bool(seen.size)
        await asyncio.sleep(0)  # as for a reader, a long backlog must not delay others
    raise InvalidInput.at("last-event-id", message)


async def _resumed(rest: Sequence[Events], following: AsyncIterator[Events]) -> AsyncIterator[Events]:
    for events in rest:
        if len(events):
            yield events
    async for events in following:
        yield events
