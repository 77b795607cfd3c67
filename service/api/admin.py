"""What an operator asks and orders: the queue, its dead jobs, the workers and their models, aliases."""

import time
from typing import Any

from fastapi import APIRouter, Query, Request

from fivefold.errors import InvalidInput, NotFound
from fivefold.jobs import (
    AliasDocument,
    AliasRequest,
    ControlDocument,
    DeadJobDocument,
    DeadJobList,
    ModelDepth,
    QueueDocument,
    WorkerDocument,
)
from fivefold.operation import JSON_TYPE
from model_store.store import ModelRef
from service.api.catalogue import Catalogue
from service.api.openapi import security
from service.api.problems import validated
from service.api.rooms import Queue
from service.api.security import ADMIN_PATH, read_body
from service.broker.base import ControlMessage, DeadJob, WorkerStatus
from service.settings import Settings

ADMIN: dict[str, Any] = {"security": security(["admin"])}
ALIAS_BODY = {"required": True, "content": {JSON_TYPE: {"schema": AliasRequest.model_json_schema()}}}


def admin_router(queue: Queue, catalogue: Catalogue, settings: Settings) -> APIRouter:
    """Every path here begins with ADMIN_PATH: `Exchange` lets nobody in without the scope admin."""
    router = APIRouter(prefix=ADMIN_PATH, tags=["admin"])

    async def order(action: Any, worker: str | None, model: ModelRef | None = None) -> ControlDocument:
        """Send a message to one worker or to all. Raises NotFound."""
        ids = [status.id for status in await catalogue.workers()]
        if worker is not None and worker not in ids:
            raise NotFound(f"there is no worker {worker[:60]!r}; there are {', '.join(ids) or 'none'}")
        await queue.send(ControlMessage(action, model, worker))
        return ControlDocument(
            action=action, model=None if model is None else str(model), workers=[worker] if worker else ids
        )

    @router.get("/queue", summary="The depth of each model's queue, and every worker", openapi_extra=ADMIN)
    async def depths() -> QueueDocument:
        now, workers = time.time(), await queue.workers()
        models = sorted({str(served.ref) for worker in workers for served in worker.models})
        return QueueDocument(
            models=[ModelDepth(model=model, **vars(await queue.depth(model))) for model in models],
            workers=[worker_document(worker, now) for worker in workers],
            dead_jobs=len(await queue.dead()),
        )

    @router.get("/dead", summary="The jobs that were given up, and why", openapi_extra=ADMIN)
    async def dead() -> DeadJobList:
        return DeadJobList(jobs=[dead_document(one) for one in await queue.dead()])

    @router.post("/dead/{job_id}/replay", status_code=202, summary="Queue a dead job again", openapi_extra=ADMIN)
    async def replay(job_id: str) -> DeadJobDocument:
        found = next((one for one in await queue.dead() if one.job.id == job_id), None)
        if found is None:
            raise NotFound(f"there is no dead job {job_id[:150]!r}: see {ADMIN_PATH}/dead")
        await queue.replay(job_id)
        return dead_document(found)

    @router.post("/drain", status_code=202, summary="Let every worker finish and stop", openapi_extra=ADMIN)
    async def drain_all() -> ControlDocument:
        return await order("drain", None)

    @router.post(
        "/workers/{worker}/drain", status_code=202, summary="Let a worker finish and stop", openapi_extra=ADMIN
    )
    async def drain(worker: str) -> ControlDocument:
        return await order("drain", worker)

    @router.post("/models/{model}/load", status_code=202, summary="Load a model of the store", openapi_extra=ADMIN)
    async def load(model: str, worker: str | None = Query(None, description="omitted: all")) -> ControlDocument:
        return await order("load", worker, catalogue.model(model).ref)

    @router.post("/models/{model}/unload", status_code=202, summary="Let a model go", openapi_extra=ADMIN)
    async def unload(model: str, worker: str | None = Query(None, description="omitted: all")) -> ControlDocument:
        return await order("unload", worker, catalogue.model(model).ref)

    @router.post(
        "/models/{name}/alias",
        summary="Let an alias mean a version",
        openapi_extra={**ADMIN, "requestBody": ALIAS_BODY},
    )
    async def alias(request: Request, name: str) -> AliasDocument:
        body = await read_body(request, settings.max_body_bytes)
        asked = validated(AliasRequest, lambda: AliasRequest.model_validate_json(body, strict=True))
        versions = catalogue.versions(name)
        if asked.alias in versions:
            raise InvalidInput.at("alias", f"alias {asked.alias!r} is a version of {name}: give it another name")
        if asked.version not in versions:
            there = ", ".join(versions)
            raise InvalidInput.at("version", f"version {asked.version!r} given, {name} has {there}: publish it first")
        await queue.set_alias(f"{name}@{asked.alias}", f"{name}@{asked.version}")
        return AliasDocument(model=name, **asked.model_dump())

    return router


def worker_document(worker: WorkerStatus, now: float) -> WorkerDocument:
    return WorkerDocument(
        id=worker.id,
        device=worker.device,
        scope=worker.scope,
        models=[str(served.ref) for served in worker.models],
        rows_run=worker.rows_run,
        seconds_since_heartbeat=max(0.0, now - worker.beat_at),
    )


def dead_document(dead: DeadJob) -> DeadJobDocument:
    job = dead.job
    return DeadJobDocument(
        id=job.id,
        model=str(job.model),
        operation=job.operation,
        tenant=job.tenant,
        rows=len(job.rows),
        attempts=dead.attempts,
        reason=dead.reason,
    )
