"""create_app(settings, broker, store, families, metrics)."""

import gc
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from fivefold.errors import FivefoldError
from model_store.store import Store
from service.api.catalogue import Catalogue
from service.api.keys import read_keys
from service.api.openapi import openapi
from service.api.problems import BY_STATUS, problem_response
from service.api.routes import Rooms, operation_route
from service.api.security import Exchange
from service.api.system import system_router
from service.broker.base import Admin, Producer
from service.families.registry import Family
from service.settings import Settings
from service.telemetry import Metrics

DESCRIPTION = "One service for families of generative models: exact, isolated, one loop."


class Queue(Producer, Admin, Protocol):
    """The faces of the broker that the API sees."""

    async def close(self) -> None: ...


def create_app(
    settings: Settings, broker: Queue, store: Store, families: Sequence[Family], metrics: Metrics
) -> FastAPI:
    """The HTTP process. It holds no device: what it knows of models, workers tell it through the broker.

    Raises InvalidKeys.
    """
    app = FastAPI(
        title="Fivefold", version="0.1.0", description=DESCRIPTION, lifespan=_lifespan(broker), redirect_slashes=False
    )
    catalogue = Catalogue(settings, store, broker)
    pipelines = [pipeline for family in families for pipeline in family.pipelines]
    rooms = Rooms(settings, broker, catalogue)
    app.router.routes.extend(operation_route(rooms, pipeline) for pipeline in pipelines)
    app.include_router(system_router(catalogue, families, metrics))
    keys = None if settings.keys_file is None else read_keys(settings.keys_file)
    app.add_middleware(Exchange, metrics=metrics, keys=keys)
    app.add_exception_handler(HTTPException, _no_route)

    def document() -> dict[str, Any]:
        app.openapi_schema = app.openapi_schema or openapi(app, [pipeline.operation for pipeline in pipelines])
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


async def _no_route(request: Request, error: Exception) -> Response:
    """The router's own refusals, as problems."""
    assert isinstance(error, HTTPException)
    kind = BY_STATUS.get(error.status_code, FivefoldError)
    message = f"{request.method} {request.url.path[:200]}: {error.detail}; see /docs"
    return problem_response(kind(message), request.state.request_id, error.headers)
