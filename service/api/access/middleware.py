"""Keys and scopes, request ids and headers: what every request goes through."""

import re
import secrets
import time
from collections.abc import Callable, Mapping

import structlog
from prometheus_client import Counter, Histogram
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fivefold.errors import FivefoldError, Forbidden, InternalError
from service.api.access.keys import ANONYMOUS, KeyRing, KeyScope, Tenant
from service.api.access.sites import SiteGuard
from service.telemetry import Metrics

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
HEADERS = (
    (b"cache-control", b"no-store"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)
DOCUMENTATION_ASSETS = ("swagger-ui-bundle.js", "swagger-ui.css", "redoc.standalone.js", "favicon.png")
# What needs no key: probes and scrapers have none, and the documentation is the same everywhere.
OPEN_PATHS = frozenset({"/healthz/live", "/healthz/ready", "/metrics", "/docs", "/redoc", "/openapi.json"})
OPEN_PATHS |= {f"/docs/{asset}" for asset in DOCUMENTATION_ASSETS}
ADMIN_PATH = "/v1/admin"
RenderError = Callable[[Scope, FivefoldError], ASGIApp]
"""The answer that has an error; its form may depend on the path."""
log = structlog.get_logger()


def require(tenant: Tenant, scope: KeyScope) -> None:
    """Raises Forbidden where the tenant's key has not the scope."""
    if scope not in tenant.scopes:
        raise Forbidden(
            f"this needs the scope {scope}, the key of {tenant.name} has {', '.join(sorted(tenant.scopes))}: "
            "use a key that has it"
        )


class RequestMiddleware:
    """The outermost ASGI application: a request id, the tenant, plain headers, the metrics, and an answer for every
    error, made by `render_error`.

    It writes `request_id`, `headers` and `tenant` into the request's state. The key, or without `keys` the page that
    asks, is judged here, before any route and before the body is read, so that no route can be forgotten.
    """

    def __init__(
        self, app: ASGIApp, metrics: Metrics, keys: KeyRing | None, sites: SiteGuard, render_error: RenderError
    ) -> None:
        self.app, self.keys, self.sites, self.render_error = app, keys, sites, render_error
        self.metrics = RouteMetrics(metrics)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 0
        headers = header_values(scope)
        request_id = _request_id(headers)
        scope.setdefault("state", {}).update(request_id=request_id, headers=headers)

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
            await self.render_error(scope, client_error_of(error, request_id))(scope, receive, send_marked)
        self.metrics.count(getattr(scope.get("route"), "path", "unknown"), status, time.perf_counter() - began)

    def _authenticate(self, scope: Scope, headers: Mapping[str, str]) -> None:
        """Write the tenant into the request's state. Raises Unauthenticated, Forbidden."""
        if self.keys is None:
            self.sites.check(scope["method"], headers)
        if (path := scope["path"]) in OPEN_PATHS:
            return
        tenant = scope["state"]["tenant"] = ANONYMOUS if self.keys is None else self.keys.tenant_of(headers)
        if path.startswith(ADMIN_PATH):
            require(tenant, "admin")


class RouteMetrics:
    """The metrics of each route. Their children are kept: to look one up by its labels costs more than to count."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._requests: dict[tuple[str, int], Counter] = {}
        self._seconds: dict[str, Histogram] = {}

    def count(self, route: str, status: int, seconds: float) -> None:
        """One answer more, `seconds` after its request arrived."""
        if (route, status) not in self._requests:
            self._requests[route, status] = self._metrics.requests.labels(route, str(status))
            self._seconds[route] = self._metrics.request_seconds.labels(route)
        self._requests[route, status].inc()
        self._seconds[route].observe(seconds)


def header_values(scope: Scope) -> dict[str, str]:
    """The headers by name, in lower case; of a repeated one the first."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(scope["headers"])}


def new_id() -> str:
    """32 hexadecimal digits that no other id predicts: job ids are made of them, and clients see many."""
    return secrets.token_hex(16)


def _request_id(headers: Mapping[str, str]) -> str:
    given = headers.get("x-request-id", "")
    return given if REQUEST_ID.fullmatch(given) else new_id()


def client_error_of(error: Exception, request_id: str) -> FivefoldError:
    """What the client may know of an error; the rest goes to the log."""
    if isinstance(error, FivefoldError):
        return error
    log.error("request_failed", request_id=request_id, exc_info=error)
    return InternalError(f"this is our fault; the log has it under {request_id}")
