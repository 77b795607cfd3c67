"""create_app(settings, broker, store, families, metrics)."""

import gc
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from fivefold.errors import FivefoldError
from model_store.store import Store
from service.api.access.keys import read_keys
from service.api.access.middleware import RequestMiddleware
from service.api.access.sites import SiteGuard, is_loopback
from service.api.execution.catalogue import Catalogue
from service.api.execution.context import ApiContext, Queue
from service.api.media.problem_json import BY_STATUS, problem_response
from service.api.routes.admin import admin_router
from service.api.routes.documentation import documentation_router
from service.api.routes.jobs import EVENTS_PATH, jobs_router
from service.api.routes.openapi import openapi
from service.api.routes.operations import OperationEndpoint
from service.api.routes.system import system_router
from service.families.registry import Family
from service.settings import Settings
from service.telemetry import Metrics

TITLE = "Fivefold"
DESCRIPTION = "One service for families of generative models: exact, isolated, one loop."
CORS_METHODS = ("GET", "HEAD", "POST", "DELETE")


class Api(FastAPI):
    """FastAPI's routes and documents, and past them the operations: a POST to one of their paths meets its endpoint
    right behind RequestMiddleware.
    """

    def __init__(
        self, operations: Mapping[str, ASGIApp], guard: Callable[[ASGIApp], ASGIApp], prefix: str, **options: Any
    ) -> None:
        super().__init__(**options)
        self._operations, self._entrance, self._prefix = operations, guard(self._dispatch), prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._entrance(self._as_routed(scope), receive, send)

    def _as_routed(self, scope: Scope) -> Scope:
        """Without the prefix of a proxy that leaves it in the path. HEAD is answered as GET, whose body the server
        leaves out; a stream of events has no end to leave out.
        """
        path: str = scope.get("path", "")
        if self._prefix and path.startswith(f"{self._prefix}/"):
            scope = {**scope, "path": path.removeprefix(self._prefix)}
        if scope.get("method") == "HEAD" and not path.endswith(EVENTS_PATH):
            scope = {**scope, "method": "GET"}
        return scope

    async def _dispatch(self, scope: Scope, receive: Receive, send: Send) -> None:
        operation = self._operations.get(scope["path"]) if scope.get("method") == "POST" else None
        await (super().__call__ if operation is None else operation)(scope, receive, send)

    def build_middleware_stack(self) -> ASGIApp:
        """Without FastAPI's own answer for unexpected errors: RequestMiddleware gives it."""
        return ExceptionMiddleware(AsyncExitStackMiddleware(self.router), handlers=self.exception_handlers)


def create_app(settings: Settings, broker: Queue, store: Store, families: Sequence[Family], metrics: Metrics) -> Api:
    """The HTTP process. It holds no device: what it knows of models, workers tell it through the broker.

    Raises InvalidKeys.
    """
    catalogue = Catalogue(settings, store, broker)
    pipelines = [pipeline for family in families for pipeline in family.pipelines]
    context = ApiContext(settings, broker, catalogue, {pipeline.operation.path: pipeline for pipeline in pipelines})
    endpoints = {path: OperationEndpoint(context, pipeline) for path, pipeline in context.pipelines.items()}
    keys = None if settings.keys_file is None else read_keys(settings.keys_file)
    app = Api(
        endpoints,
        lambda inner: _with_cors(settings, RequestMiddleware(inner, metrics, keys, _site_guard(settings), _problem)),
        settings.root_path,
        title=TITLE,
        version="0.1.0",
        description=DESCRIPTION,
        lifespan=_lifespan(broker),
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
    )
    app.router.routes.extend(endpoint.route for endpoint in endpoints.values())
    app.include_router(jobs_router(context))
    app.include_router(admin_router(broker, catalogue, settings))
    app.include_router(system_router(broker, catalogue, families, metrics))
    app.include_router(documentation_router(TITLE))
    app.add_exception_handler(HTTPException, _no_route)

    def document() -> dict[str, Any]:
        app.openapi_schema = app.openapi_schema or openapi(app, pipelines, settings.root_path)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]
    return app


def _site_guard(settings: Settings) -> SiteGuard:
    return SiteGuard(settings.allowed_hosts, settings.cors_origins, public=not is_loopback(settings.host))


def _with_cors(settings: Settings, app: ASGIApp) -> ASGIApp:
    """Cross-origin requests of the named pages; of none where there are no names."""
    if not settings.cors_origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=settings.cors_origins,
        allow_methods=CORS_METHODS,
        allow_headers=["*"],
        expose_headers=["*"],
    )


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
