"""Floods, clients that leave, clients that repeat themselves, greedy tenants."""

import asyncio
import http.client
import io
import json
import os
import statistics
import subprocess
import time
from collections import Counter
from email.message import Message
from pathlib import Path

from chaos.asking import COUNT, ROW, SCALE, client_of
from chaos.history import History
from chaos.knobs import Start
from chaos.processes import Member
from queue_server import Server
from waiting import eventually

CAPACITY, FLOOD = 64, 300
QUIET_P95_SECONDS = 0.25  # beside a backlog of 50 s


async def test_a_flood_is_bounded_refused_with_a_time_and_leaves_the_memory_as_it_was(
    start: Start, history: History, server: Server
) -> None:
    start("worker")
    api = start("api", max_queued_jobs=CAPACITY)

    async def flood() -> Counter[int]:
        answers = await asyncio.gather(*(_answer(api, COUNT, {"steps": 2}) for _ in range(FLOOD)))
        assert all(int(headers["retry-after"]) >= 1 for status, headers in answers if status == 429)
        return Counter(status for status, _ in answers)

    with server.client as client:
        first = await flood()
        assert set(first) == {200, 429}
        assert first[200] >= CAPACITY
        before = _resident_bytes(api), client.info("memory")["used_memory"]
        assert set(await flood()) == {200, 429}
        after = _resident_bytes(api), client.info("memory")["used_memory"]
    assert [b - a < 4 * 2**20 for a, b in zip(before, after, strict=True)] == [True, True]
    assert await history.idle()


async def test_what_its_clients_left_in_the_queue_is_never_run(start: Start, history: History) -> None:
    start("worker")
    api = start("api")
    await history.submit(history.scale(1, ms=400))
    await eventually(history.running)
    connections = [await _post(api, COUNT, {"steps": 3}) for _ in range(8)]
    await eventually(lambda: _waiting(history, 8))
    for _, writer in connections:
        writer.transport.abort()
    await eventually(lambda: _waiting(history, 0))
    await eventually(history.idle)
    await history.events(await history.submit(history.scale(2)))
    await eventually(lambda: _rows_run(history, 2))


async def test_a_key_is_one_job_on_two_replicas_and_a_changed_body_is_a_conflict(
    start: Start, history: History
) -> None:
    start("worker")
    key = {"idempotency-key": "one"}
    async with client_of(start("api")) as first, client_of(start("api")) as second:
        asked = (http.post(SCALE, json=ROW, headers=key) for _ in range(50) for http in (first, second))
        answers = await asyncio.gather(*asked)
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.json()["meta"]["receipt"] for answer in answers}) == 1
        await eventually(lambda: _rows_run(history, 1))
        changed = await second.post(SCALE, json={"rows": [[4, 3, 2, 1]]}, headers=key)
        assert (changed.status_code, changed.json()["code"]) == (409, "idempotency_conflict")


async def test_a_quiet_tenant_does_not_wait_behind_thousands_of_a_greedy_one(start: Start, history: History) -> None:
    for _ in range(10):
        await history.submit_all(history.scale(1, ms=5, tenant="greedy") for _ in range(1000))
    start("worker")
    await eventually(history.running)
    took = []
    for _ in range(20):
        began = time.monotonic()
        await history.events(await history.submit(history.scale(1, ms=5, tenant="quiet")))
        took.append(time.monotonic() - began)
    assert statistics.quantiles(took, n=20)[-1] < QUIET_P95_SECONDS
    assert (await history.broker.depth(str(history.model))).waiting_jobs > 9000


async def _answer(api: Member, path: str, body: dict[str, object]) -> tuple[int, Message]:
    """Status and headers. httpx would take longer to find a free connection among hundreds than the service answers."""
    reader, writer = await _post(api, path, body)
    head = io.BytesIO(await reader.readuntil(b"\r\n\r\n"))
    writer.close()
    return int(head.readline().split()[1]), http.client.parse_headers(head)


async def _post(api: Member, path: str, body: dict[str, object]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A request whose connection is ours to cut."""
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    content = json.dumps(body)
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    head += f"content-length: {len(content)}\r\n\r\n"
    writer.write((head + content).encode())
    await writer.drain()
    return reader, writer


async def _waiting(history: History, jobs: int) -> bool:
    return (await history.broker.depth(str(history.model))).waiting_jobs == jobs


async def _rows_run(history: History, rows: int) -> bool:
    (worker,) = await history.broker.workers()
    assert worker.rows_run <= rows
    return worker.rows_run == rows


def _resident_bytes(member: Member) -> int:
    """Of its memory; /proc where there is one, ps elsewhere."""
    pages = Path(f"/proc/{member.process.pid}/statm")
    if pages.exists():
        return int(pages.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    asked = subprocess.run(["ps", "-o", "rss=", "-p", str(member.process.pid)], capture_output=True, check=True)
    return int(asked.stdout) * 1024
