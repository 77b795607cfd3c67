"""Requests over HTTP, and what a service without its queue answers."""

import asyncio
import time

import httpx
from chaos.processes import Member
from waiting import eventually

SCALE, COUNT = "/v1/toy/scale", "/v1/toy/count"
ROW = {"rows": [[1, 2, 3, 4]]}
ANSWER_SECONDS, PROBE_SECONDS = 1.5, 0.5


async def timed(http: httpx.AsyncClient, method: str, path: str, **options: object) -> tuple[httpx.Response, float]:
    """The answer, and the seconds it took."""
    began = time.monotonic()
    answer = await http.request(method, path, **options)
    return answer, time.monotonic() - began


async def works(http: httpx.AsyncClient) -> bool:
    answer = await http.post(SCALE, json=ROW)
    return answer.status_code == 200 and answer.json()["items"][0]["row"] == [3, 5, 7, 9]


async def refuses(http: httpx.AsyncClient, *, ready: bool = False) -> None:
    """503 and when to come back, in time, also for those that come while others wait; alive, and ready or not."""

    async def ask(later: float) -> tuple[httpx.Response, float]:
        await asyncio.sleep(later)
        return await timed(http, "POST", SCALE, json=ROW)

    for answer, seconds in await asyncio.gather(*(ask(place / 4) for place in range(4))):
        assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
        assert int(answer.headers["retry-after"]) >= 1
        assert seconds < ANSWER_SECONDS
    live, seconds = await timed(http, "GET", "/healthz/live")
    assert (live.status_code, seconds < PROBE_SECONDS) == (200, True)
    probe, seconds = await timed(http, "GET", "/healthz/ready")
    assert (probe.status_code, seconds < PROBE_SECONDS) == (200 if ready else 503, True)


async def recovers(http: httpx.AsyncClient, api: Member) -> None:
    """Without a restart."""
    await eventually(lambda: works(http))
    await eventually(lambda: asyncio.sleep(0, api.ready))
    assert api.alive


def client_of(api: Member) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=api.url, timeout=10.0)
