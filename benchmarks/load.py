"""A closed loop of clients on persistent connections: as light as can be, so that the server is what is measured."""

import asyncio
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np


@dataclass(frozen=True)
class Figures:
    """Of one run; latencies from the first byte sent to the last received."""

    requests_per_s: float
    p50_ms: float
    p99_ms: float


async def closed_loop(url: str, body: bytes, concurrency: int, seconds: float) -> Figures:
    """`concurrency` clients that each send the next request when the last is answered. Raises on any status but 200."""
    parts = urlsplit(url)
    head = f"POST {parts.path} HTTP/1.1\r\nhost: {parts.netloc}\r\ncontent-type: application/json\r\n"
    request = f"{head}content-length: {len(body)}\r\n\r\n".encode() + body
    deadline = time.perf_counter() + seconds
    began = time.perf_counter()
    clients = [_client(parts.hostname or "", parts.port or 80, request, deadline) for _ in range(concurrency)]
    latencies = np.concatenate(await asyncio.gather(*clients)) * 1e3
    elapsed = time.perf_counter() - began
    return Figures(len(latencies) / elapsed, float(np.median(latencies)), float(np.percentile(latencies, 99)))


async def _client(host: str, port: int, request: bytes, deadline: float) -> list[float]:
    reader, writer = await asyncio.open_connection(host, port)
    latencies = []
    while (began := time.perf_counter()) < deadline:
        writer.write(request)
        await _answer(reader)
        latencies.append(time.perf_counter() - began)
    writer.close()
    return latencies


async def _answer(reader: asyncio.StreamReader) -> bytes:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
    body = await reader.readexactly(length)
    if b" 200 " not in head.split(b"\r\n", 1)[0]:
        raise RuntimeError(f"{head.decode()}{body.decode(errors='replace')}")
    return body
