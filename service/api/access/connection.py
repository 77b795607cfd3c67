"""What one connection of a client may send and take, in bytes and seconds: uvicorn's protocol within bounds."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from service.settings import Settings

SWEEP_SECONDS = 0.5
SIGNS_AFTER_SECONDS = (0.1, 0.12)  # a closed client rejects the first, which the second write shows; then with sweeps
MAX_PIPELINED = 32
HEAD_TOO_LARGE = (431, "the head of the request is too large: send fewer or shorter header fields")
TOO_SLOW = (408, "the request did not arrive in time: send it faster")


@dataclass
class Connections:
    """Those of one server, and their bounds."""

    settings: Settings
    open: dict[BoundedProtocol, None] = field(default_factory=dict)  # the oldest first
    sweeping: bool = False

    def protocol(
        self, config: Config, server_state: ServerState, app_state: dict[str, Any], _loop: Any = None
    ) -> BoundedProtocol:
        """For uvicorn's `http`."""
        return BoundedProtocol(self, config, server_state, app_state, _loop)

    def enter(self, one: BoundedProtocol) -> None:
        """Where there are too many, the oldest one that waits for its client is closed."""
        if len(self.open) >= self.settings.max_connections:
            idle = next((other for other in self.open if other.waits_for_client), one)
            idle.transport.abort()
            self.open.pop(idle, None)
        self.open[one] = None
        if not self.sweeping:
            self.sweeping = True
            one.loop.call_later(SWEEP_SECONDS, self._sweep, one.loop)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        for one in list(self.open):
            one.close_if_slow(loop.time())
        self.sweeping = bool(self.open)
        if self.sweeping:
            loop.call_later(SWEEP_SECONDS, self._sweep, loop)


class BoundedProtocol(HttpToolsProtocol):
    """Closes a client that sends a head that is too large, or that stops sending or taking bytes.

    One that has only ended its sending still gets its answer (RFC 9112, 9.6); whether it is gone instead shows a
    "100 Continue", or a comment in an event stream: every client reads over them, and a closed one rejects them.
    """

    def __init__(self, connections: Connections, config: Config, state: ServerState, app_state: Any, loop: Any) -> None:
        super().__init__(config, state, app_state, loop)
        self.shared, self.settings = connections, connections.settings
        self.in_head = self.half_closed = False
        self.pending_bytes = self.last_size = 0
        self.moved_at = self.loop.time()

    @property
    def answering(self) -> bool:
        """Whether a request has wholly arrived, and its answer has not wholly left."""
        return self.cycle is not None and not self.cycle.more_body and not self.cycle.response_complete

    @property
    def waits_for_client(self) -> bool:
        return not self.answering

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.shared.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.shared.open.pop(self, None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Head and trailers are counted before the parser, which joins the pieces of a field again and again."""
        if self.timeout_keep_alive_task is not None:  # a new request begins
            self.moved_at = self.loop.time()
        self.pending_bytes += len(data)
        if self.pending_bytes > self.settings.max_header_bytes + 2**18:
            self.refuse(*HEAD_TOO_LARGE)
            return
        super().data_received(data)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.in_head = True

    def on_headers_complete(self) -> None:
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self.settings.max_header_bytes or len(self.pipeline) >= MAX_PIPELINED:
            self.scope["method"] = "GET"
            raise ValueError("the head of a request is too large")
        self.in_head, self.pending_bytes = False, 0
        self.moved_at = self.loop.time()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self.pending_bytes, self.moved_at = 0, self.loop.time()
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        size = sum(len(name) + len(value) for name, value in self.headers or ())
        self.refuse(*(HEAD_TOO_LARGE if size > self.settings.max_header_bytes else (400, msg)))

    def refuse(self, status: int, detail: str) -> None:
        if self.transport.is_closing():
            return
        body = f'{{"status": {status}, "detail": "{detail}"}}'.encode()
        head = f"HTTP/1.1 {status} Refused\r\ncontent-type: application/problem+json\r\nconnection: close\r\n"
        self.transport.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        self.transport.close()

    def eof_received(self) -> bool:  # type: ignore[override]
        self.half_closed = self.answering
        if self.half_closed:
            self.cycle.keep_alive = False
            for seconds in SIGNS_AFTER_SECONDS:
                self.loop.call_later(seconds, self.show_life)
        return self.half_closed

    def close_if_slow(self, now: float) -> None:
        size = self.transport.get_write_buffer_size()
        if size and size != self.last_size:
            self.moved_at = now
        self.last_size = size
        if self.half_closed:
            self.show_life()
        idle = self.timeout_keep_alive_task is not None and not size
        if idle or (self.answering and not size) or now - self.moved_at < self.settings.client_seconds:
            return
        if not size and not (self.cycle is not None and self.cycle.response_started) and (self.in_head or self.cycle):
            self.refuse(*TOO_SLOW)
        self.transport.abort() if size or self.transport.is_closing() else self.transport.close()

    def show_life(self) -> None:
        """Only event streams are chunked here; what they send ends with a whole event."""
        if self.transport.is_closing() or self.scope["http_version"] != "1.1":
            return
        if not self.cycle.response_started:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        elif self.cycle.chunked_encoding and not self.cycle.response_complete:
            self.transport.write(b"2\r\n:\n\r\n")

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        super()._start_asgi_task(cycle, until_closed(cycle, app) if cycle.scope["http_version"] != "1.1" else app)


def until_closed(cycle: RequestResponseCycle, app: ASGIApp) -> Any:
    """An answer without a length for HTTP/1.0, which knows no chunks: it ends with the connection."""

    async def unchunked(scope: Scope, receive: Receive, send: Send) -> None:
        endless = False

        async def send_plain(message: Message) -> None:
            nonlocal endless
            if message["type"] == "http.response.start":
                endless = all(name != b"content-length" for name, _ in message["headers"])
                cycle.chunked_encoding = False if endless else None
            elif endless:
                cycle.expected_content_length = len(message.get("body", b""))
            await send(message)

        await app(scope, receive, send_plain)

    return unchunked
