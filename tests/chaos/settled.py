"""How every test of chaos ends: all jobs once and rightly, an empty queue."""

import time

from chaos.history import History, Verdict, leftovers
from queue_server import Server
from waiting import eventually


async def settled(history: History, server: Server, jobs: int, worst_attempts: int | None = None) -> None:
    """Every job has ended once, with its own bytes, after at most three attempts, and the queue is empty."""
    with server.client as client:
        verdict = await history.verdict(client)
        assert verdict == Verdict(jobs, [], [], worst_attempts or verdict.worst_attempts)
        assert verdict.worst_attempts <= 3
        await eventually(history.idle)
        assert leftovers(client, history.model) == {}


async def passed(seconds: float, *, since: float) -> bool:
    return time.monotonic() - since > seconds
