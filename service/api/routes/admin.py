"""What an operator asks and orders: the queue, its dead jobs, the workers and their models, aliases."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request

from fivefold.errors import InvalidInput, NotFound, UnsupportedMediaType
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
from service.api.access.middleware import ADMIN_PATH
from service.api.execution.catalogue import Catalogue, by_name_and_version
from service.api.execution.context import Queue
from service.api.media.problem_json import validate
from service.api.media.request_body import read_body
from service.api.routes.openapi import security
from service.broker.base import DeadJob
from service.settings import Settings
from service.workers import ControlMessage, WorkerStatus

Action = Literal["load", "unload", "drain"]
OneWorker = Annotated[str | None, Query(description="its id; omitted: all")]
ADMIN: dict[str, Any] = {"security": security(["admin"])}
ALIAS_BODY = {"required": True, "content": {JSON_TYPE: {"schema": AliasRequest.model_json_schema()}}}


def admin_router(queue: Queue, catalogue: Catalogue, settings: Settings) -> APIRouter:
    """Every path here begins with ADMIN_PATH: `RequestMiddleware` refuses keys without the scope admin."""
    router = APIRouter(prefix=ADMIN_PATH, tags=["admin"], dependencies=[Depends(require_json)])
    routes = AdminRoutes(queue, catalogue, settings)

    def get(path: str, answer: Callable[..., Any], summary: str) -> None:
        router.add_api_route(path, answer, summary=summary, openapi_extra=ADMIN)

    def post(path: str, answer: Callable[..., Any], summary: str, status: int = 202, **extra: Any) -> None:
        described = ADMIN | extra
        router.add_api_route(
            path, answer, methods=["POST"], status_code=status, summary=summary, openapi_extra=described
        )

    get("/queue", routes.depths, "The depth of each model's queue, every worker, the number of dead jobs")
    get("/dead", routes.dead, "The jobs that were given up, and why")
    post("/dead/{job_id}/replay", routes.replay, "Queue a dead job again")
    post("/drain", routes.drain_all, "Let every worker finish what runs and stop")
    post("/workers/{worker}/drain", routes.drain, "Let a worker finish what runs and stop")
    post("/models/{model}/load", routes.load, "Load a model of the store")
    post("/models/{model}/unload", routes.unload, "Let go of a model once its last job has ended")
    post("/models/{name}/alias", routes.alias, "Let an alias mean a version", 200, requestBody=ALIAS_BODY)
    return router


@dataclass(frozen=True)
class AdminRoutes:
    """One method per route."""

    queue: Queue
    catalogue: Catalogue
    settings: Settings

    async def depths(self) -> QueueDocument:
        now, workers = time.time(), await self.queue.workers()
        refs = sorted({served.ref for worker in workers for served in worker.models}, key=by_name_and_version)
        models = list(dict.fromkeys(map(str, refs)))
        return QueueDocument(
            models=[ModelDepth(model=model, **vars(await self.queue.depth(model))) for model in models],
            workers=[worker_document(worker, now) for worker in workers],
            dead_jobs=len(await self.queue.dead()),
        )

    async def dead(self) -> DeadJobList:
        return DeadJobList(jobs=[dead_document(one) for one in await self.queue.dead()])

    async def replay(self, job_id: str) -> DeadJobDocument:
        found = next((one for one in await self.queue.dead() if one.id == job_id), None)
        if found is None:
            raise NotFound(f"there is no dead job {job_id[:150]!r}: see {ADMIN_PATH}/dead")
        await self.queue.replay(job_id)
        return dead_document(found)

    async def drain_all(self) -> ControlDocument:
        return await self._order("drain", None)

    async def drain(self, worker: str) -> ControlDocument:
        return await self._order("drain", worker)

    async def load(self, model: str, worker: OneWorker = None) -> ControlDocument:
        return await self._order("load", worker, model)

    async def unload(self, model: str, worker: OneWorker = None) -> ControlDocument:
        return await self._order("unload", worker, model)

    async def alias(self, request: Request, name: str) -> AliasDocument:
        body = await read_body(request.headers, request.receive, self.settings.max_body_bytes)
        asked = validate(AliasRequest, lambda: AliasRequest.model_validate_json(body, strict=True))
        versions = self.catalogue.versions(name)
        if asked.alias in versions:
            raise InvalidInput.at("alias", f"alias {asked.alias!r} is a version of {name}: give it another name")
        if asked.version not in versions:
            there = ", ".join(versions)
            raise InvalidInput.at("version", f"version {asked.version!r} given, {name} has {there}: publish it first")
        await self.queue.set_alias(f"{name}@{asked.alias}", f"{name}@{asked.version}")
        return AliasDocument(model=name, **asked.model_dump())

    async def _order(self, action: Action, worker: str | None, reference: str | None = None) -> ControlDocument:
        """Send a message to one worker or to all. Raises NotFound, UnknownModel."""
        ids = [status.id for status in await self.catalogue.workers()]
        model = None if reference is None else self.catalogue.model(reference).ref
        if worker is not None and worker not in ids:
            raise NotFound(f"there is no worker {worker[:60]!r}; there are {', '.join(ids) or 'none'}")
        await self.queue.send(ControlMessage(action, model, worker))
        named = None if model is None else str(model)
        return ControlDocument(action=action, model=named, workers=ids if worker is None else [worker])


def require_json(request: Request) -> None:
    """A form, which any page can send, is never an order. Raises UnsupportedMediaType."""
    headers, given = request.headers, request.headers.get("content-type", "")
    has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
    if (given or has_body) and given.partition(";")[0].strip().lower() != JSON_TYPE:
        raise UnsupportedMediaType(f"content-type {given[:60]!r} given; {ADMIN_PATH} reads {JSON_TYPE}")


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
    return DeadJobDocument(**vars(dead))
