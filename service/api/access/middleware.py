"""Keys and scopes, request ids and headers: what every exchange goes through."""

import random
import re
import time

import structlog
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fivefold.errors import FivefoldError, Forbidden, InternalError
from service.api.access.keys import ANONYMOUS, KeyRing, KeyScope, Tenant
from service.api.media.problem_json import problem_response
from service.telemetry import Metrics

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
HEADERS = (
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)
# What needs no key: probes and scrapers have none, and the documentation is the same everywhere.
OPEN_PATHS = frozenset({"/healthz/live", "/healthz/ready", "/metrics", "/docs", "/openapi.json"})
ADMIN_PATH = "/v1/admin"
log = structlog.get_logger()


def require(request: Request, scope: KeyScope) -> Tenant:
    """Who asks. Raises Forbidden where the key has not the scope."""
    tenant: Tenant = request.state.tenant
    if scope not in tenant.scopes:
        raise Forbidden(
            f"this needs the scope {scope}, the key of {tenant.name} has {', '.join(sorted(tenant.scopes))}: "
            "use a key that has it"
        )
    return tenant


class Exchange:
    """ASGI middleware: a request id, the tenant, plain headers, the metrics, and every error as a problem document.

    The key is judged here, before any route and before the body is read, so that no route can be forgotten.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, keys: KeyRing | None) -> None:
        self.app, self.metrics, self.keys = app, metrics, keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 0
        headers = Headers(scope=scope)
        request_id = _request_id(headers)
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode()), *HEADERS]
            await send(message)

        try:
            self._authenticate(scope, headers)
            await self.app(scope, receive, send_marked)
        except ClientDisconnect:
            status = 499
        except Exception as error:
            if status:  # the answer has begun: all that is left is to break it off
                raise
            await problem_response(public(error, request_id), request_id)(scope, receive, send_marked)
        route = getattr(scope.get("route"), "path", "unknown")
        self.metrics.requests.labels(route, str(status)).inc()
        self.metrics.request_seconds.labels(route).observe(time.perf_counter() - began)

    def _authenticate(self, scope: Scope, headers: Headers) -> None:
        """Write the tenant into the request's state. Raises Unauthenticated, Forbidden."""
        if (path := scope["path"]) in OPEN_PATHS:
            return
        scope["state"]["tenant"] = ANONYMOUS if self.keys is None else self.keys.tenant_of(headers)
        if path.startswith(ADMIN_PATH):
            require(Request(scope), "admin")


def new_id() -> str:
    """A name nobody else has. Not a secret: the system's randomness would cost each request a wait for the worker."""
    return f"{random.getrandbits(128):032x}"


def _request_id(headers: Headers) -> str:
    given = headers.get("x-request-id", "")
    return given if REQUEST_ID.fullmatch(given) else new_id()


def public(error: Exception, request_id: str) -> FivefoldError:
    """What the client may know of an error; the rest goes to the log."""
    if isinstance(error, FivefoldError):
        return error
    log.error("request failed", request_id=request_id, exc_info=error)
    return InternalError(f"this is our fault; the log has it under {request_id}")
