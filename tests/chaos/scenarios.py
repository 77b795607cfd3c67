"""The long form: thousands of jobs, and whatever can be killed, is; each scenario tells what it found."""

import asyncio
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import queue_server
import toy
from chaos.family import KILLER
from chaos.history import History, attempts, leftovers
from chaos.knobs import broker_of, knobs_of
from chaos.proxy import Mode, Proxy
from chaos.supervisor import Supervisor
from queue_server import Server
from waiting import until

from model_store.store import Store
from service.broker.redis.keys import prefix

POISON = 3
ROW_MS, SHOT_SECONDS, FAULT_SECONDS = 20.0, 0.25, 3.0
LEASE = {"lease_seconds": 2.0, "heartbeat_seconds": 0.2}


@dataclass
class Outcome:
    """What one scenario found. `recovery_seconds` has a figure for each kill or fault."""

    scenario: str
    jobs: int
    kills: int = 0
    lost: int = 0
    twice: int = 0
    repeated: int = 0
    poison_in_dead_letter: str = "-"
    worst_attempts: int = 0
    recovery_seconds: list[float] = field(default_factory=list)


class Stage:
    """A server with AOF, supervised workers that may stand behind a proxy, and a history."""

    def __init__(self, folder: Path, workers: int) -> None:
        self._stack, self._folder, self._workers = ExitStack(), folder, workers

    async def __aenter__(self) -> "Stage":
        self.server: Server = self._stack.enter_context(queue_server.running(self._folder, aof=True))
        self.proxy = self._stack.enter_context(Proxy(self.server.port))
        store = Store(self._folder / "models")
        ref = toy.publish_toy(store).ref
        knobs = knobs_of(self.server.url, store.root) | LEASE
        self.history = History(broker_of(knobs), ref)
        self.workers = Supervisor(self._workers, {**knobs, "redis_url": self.proxy.url})
        self._stack.enter_context(self.workers)
        await asyncio.to_thread(self.workers.wait_until_ready)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.history.broker.close()
        self._stack.close()

    def ended(self) -> int:
        with self.server.client as client:
            return int(client.zcard(prefix(str(self.history.model)) + "kept"))

    async def judge(self, outcome: Outcome, poison: frozenset[str] = frozenset()) -> Outcome:
        with self.server.client as client:
            verdict = await self.history.verdict(client, poison)
            left = leftovers(client, self.history.model)
            tries = [attempts(client, job_id) for job_id in self.history.expected if job_id not in poison]
        assert not left, f"an idle queue holds {left}"
        outcome.lost, outcome.twice = len(verdict.lost), len(verdict.twice)
        outcome.repeated, outcome.worst_attempts = sum(count > 1 for count in tries), max(tries)
        return outcome

    async def next_end(self) -> float:
        """The seconds until another job has ended."""
        before = self.ended()
        return await asyncio.to_thread(until, lambda: self.ended() > before, 60.0)


async def workers_killed(folder: Path, jobs: int, workers: int) -> Outcome:
    """A ready worker is killed every 250 ms, and three jobs kill theirs."""
    over, outcome = threading.Event(), Outcome("workers killed every 250 ms", jobs)
    async with Stage(folder, workers) as stage:
        history, poison = stage.history, set[str]()
        shots = stage.workers.kill_every(SHOT_SECONDS, over)
        try:
            for place in range(jobs):
                if place % (jobs // POISON) == 7:
                    poison.add(await history.submit(history.scale(KILLER)))
                else:
                    await history.submit(history.scale(1, ms=ROW_MS, seconds=ROW_MS / 1e3))
            while not await history.idle():
                await asyncio.sleep(0.05)
        finally:
            over.set()
            await asyncio.to_thread(shots.join)
        outcome.kills, outcome.recovery_seconds = stage.workers.kills, stage.workers.recovery_seconds
        dead = {job.id: job.attempts for job in await history.broker.dead()}
        outcome.poison_in_dead_letter = f"{sum(dead.get(job_id) == 3 for job_id in poison)} of {len(poison)}"
        return await stage.judge(outcome, frozenset(poison))


async def server_killed(folder: Path, jobs: int, workers: int) -> Outcome:
    """The queue's server is killed twice, with its file of what it accepted."""
    outcome = Outcome("server killed twice, AOF everysec", jobs, kills=2)
    async with Stage(folder, workers) as stage:
        submitting = asyncio.create_task(_submit(stage.history, jobs))
        for part in (1, 2):
            await asyncio.to_thread(until, lambda: stage.ended() > part * jobs // 4, 60.0)  # noqa: B023
            before, began = stage.ended(), time.monotonic()
            stage.server.kill()
            await asyncio.to_thread(stage.server.start)
            await asyncio.to_thread(until, lambda: stage.ended() > before, 60.0)  # noqa: B023
            outcome.recovery_seconds.append(time.monotonic() - began)
        await submitting
        return await stage.judge(outcome)


async def network_lies(folder: Path, jobs: int, workers: int, mode: Mode) -> Outcome:
    """Everything between the workers and the queue fails in one way for three seconds, twice."""
    outcome = Outcome(f"network: {mode}, {FAULT_SECONDS:g} s", jobs)
    async with Stage(folder, workers) as stage:
        submitting = asyncio.create_task(_submit(stage.history, jobs))
        for part in (1, 2):
            await asyncio.to_thread(until, lambda: stage.ended() > part * jobs // 8, 60.0)  # noqa: B023
            stage.proxy.set(mode)
            await asyncio.sleep(FAULT_SECONDS)
            stage.proxy.set("pass")
            outcome.recovery_seconds.append(await stage.next_end())
        await submitting
        return await stage.judge(outcome)


async def _submit(history: History, jobs: int) -> None:
    for _ in range(jobs):
        await history.submit(history.scale(1, ms=ROW_MS, seconds=ROW_MS / 1e3))
