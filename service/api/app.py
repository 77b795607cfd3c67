"""create_app(settings, broker, store, families, metrics)."""

import gc
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from fivefold.errors import FivefoldError
from model_store.store import Store
from service.api.access.keys import read_keys
from service.api.access.middleware import RequestMiddleware
from service.api.execution.catalogue import Catalogue
from service.api.execution.context import ApiContext, Queue
from service.api.media.problem_json import BY_STATUS, problem_response
from service.api.routes.admin import admin_router
from service.api.routes.jobs import jobs_router
from service.api.routes.openapi import openapi
from service.api.routes.operations import OperationEndpoint
from service.api.routes.system import system_router
from service.families.registry import Family
from service.settings import Settings
from service.telemetry import Metrics

DESCRIPTION = "One service for families of generative models: exact, isolated, one loop."


class Api(FastAPI):
    """FastAPI's routes and documents, and past them the operations: a POST to one of their paths meets its endpoint
    right behind RequestMiddleware.
    """

    operations: Mapping[str, ASGIApp] = {}
    guard: Callable[[ASGIApp], RequestMiddleware]

    def build_middleware_stack(self) -> ASGIApp:
        """Without FastAPI's own answer for unexpected errors, which is not ours: RequestMiddleware gives it."""
        self._routed = ExceptionMiddleware(AsyncExitStackMiddleware(self.router), handlers=self.exception_handlers)
        return self.guard(self._dispatch)

    async def _dispatch(self, scope: Scope, receive: Receive, send: Send) -> None:
        operation = self.operations.get(scope["path"]) if scope.get("method") == "POST" else None
        await (operation or self._routed)(scope, receive, send)


def create_app(settings: Settings, broker: Queue, store: Store, families: Sequence[Family], metrics: Metrics) -> Api:
    """The HTTP process. It holds no device: what it knows of models, workers tell it through the broker.

    Raises InvalidKeys.
    """
    app = Api(
        title="Fivefold", version="0.1.0", description=DESCRIPTION, lifespan=_lifespan(broker), redirect_slashes=False
    )
    catalogue = Catalogue(settings, store, broker)
    pipelines = [pipeline for family in families for pipeline in family.pipelines]
    context = ApiContext(settings, broker, catalogue, {pipeline.operation.path: pipeline for pipeline in pipelines})
    endpoints = [OperationEndpoint(context, pipeline) for pipeline in pipelines]
    app.operations = {endpoint.path: endpoint for endpoint in endpoints}
    app.router.routes.extend(endpoint.route for endpoint in endpoints)
    app.include_router(jobs_router(context))
    app.include_router(admin_router(broker, catalogue, settings))
    app.include_router(system_router(broker, catalogue, families, metrics))
    keys = None if settings.keys_file is None else read_keys(settings.keys_file)
    app.guard = lambda inner: RequestMiddleware(inner, metrics, keys, _problem)
    app.add_exception_handler(HTTPException, _no_route)

    def document() -> dict[str, Any]:
        app.openapi_schema = app.openapi_schema or openapi(app, pipelines)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]
    return app


def _lifespan(broker: Queue) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # What lives from here on lives for ever: without this the collector walks it in the middle of requests.
        gc.collect()
        gc.freeze()
        yield
        await broker.close()

    return lifespan


def _problem(scope: Scope, error: FivefoldError) -> Response:
    return problem_response(error, scope["state"]["request_id"])


async def _no_route(request: Request, error: Exception) -> Response:
    """The router's own refusals, as problems."""
    assert isinstance(error, HTTPException)
    kind = BY_STATUS.get(error.status_code, FivefoldError)
    message = f"{request.method} {request.url.path[:200]}: {error.detail}; see /docs"
    return problem_response(kind(message), request.state.request_id, error.headers)
