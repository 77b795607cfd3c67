"""A closed loop of clients on persistent connections: as light as can be, so that the server is what is measured."""

import asyncio
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

import numpy as np

JSON_HEADERS = {"content-type": "application/json"}
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Figures:
    """Of one run; latencies from the first byte sent to the last received."""

    requests: int
    requests_per_s: float
    p50_ms: float
    p99_ms: float


def figures(latencies_s: list[float], elapsed_s: float) -> Figures:
    ms = np.array(latencies_s) * 1e3
    return Figures(len(ms), len(ms) / elapsed_s, float(np.median(ms)), float(np.percentile(ms, 99)))


async def closed_loop(
    url: str, body: bytes, concurrency: int, seconds: float, headers: Mapping[str, str] = JSON_HEADERS
) -> Figures:
    """`concurrency` clients that each send the next request when the last is answered. Raises on any status but 200."""
    parts, loop = urlsplit(url), asyncio.get_running_loop()
    host, port = parts.hostname or "", parts.port or 80
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    lines = "".join(f"{name}: {value}\r\n" for name, value in {"host": parts.netloc, **headers}.items())
    head = f"POST {target} HTTP/1.1\r\n{lines}"
    request = f"{head}content-length: {len(body)}\r\n\r\n".encode() + body
    began = time.perf_counter()
    clients = [_Client(request, began + seconds) for _ in range(concurrency)]
    for client in clients:
        await loop.create_connection(lambda client=client: client, host, port)  # type: ignore[misc]
    latencies = await asyncio.gather(*(client.ended for client in clients))
    return figures([latency for own in latencies for latency in own], time.perf_counter() - began)


class _Client(asyncio.Protocol):
    """One connection; `ended` is its latencies in seconds."""

    def __init__(self, request: bytes, deadline: float) -> None:
        self.ended: asyncio.Future[list[float]] = asyncio.get_running_loop().create_future()
        self._request, self._deadline = request, deadline
        self._answer, self._expected, self._latencies = bytearray(), 0, list[float]()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        self._answer += data
        if not self._expected:
            end = self._answer.find(b"\r\n\r\n") + 4
            length = _LENGTH.search(self._answer, 0, end) if end > 3 else None
            self._expected = end + int(length[1]) if length else 0
        if not self._expected or len(self._answer) < self._expected:
            return
        if b" 200 " not in self._answer[:16]:
            self._end(RuntimeError(self._answer.decode(errors="replace")))
            return
        self._latencies.append(time.perf_counter() - self._began)
        self._answer, self._expected = bytearray(), 0
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        self._end(error or ConnectionError("the server closed the connection"))

    def _send(self) -> None:
        self._began = time.perf_counter()
        if self._began >= self._deadline:
            self._end(None)
        else:
            self._transport.write(self._request)

    def _end(self, error: Exception | None) -> None:
        if not self.ended.done() and error is not None:
            self.ended.set_exception(error)
        elif not self.ended.done():
            self.ended.set_result(self._latencies)
        self._transport.close()
