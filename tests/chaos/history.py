"""What was accepted, and how it ended: every job once, with the bytes it must have."""

import asyncio
import secrets
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import toy
from chaos.family import expected
from redis import Redis

from fivefold.errors import NotFound, QueueFull
from model_store.store import ModelRef
from service.arrays import item_of
from service.broker.base import Broker, QueueAway
from service.broker.redis.keys import prefix, prefix_of
from service.jobs import Block, Events, Job, block_of

AGAIN_SECONDS = 0.05


@dataclass(frozen=True)
class Verdict:
    """`lost` ended otherwise than it must, or not at all; `twice` has a row that ended more than once."""

    jobs: int
    lost: list[str]
    twice: list[str]
    worst_attempts: int


class History:
    """Submits jobs, remembers those that were accepted, and judges them at the end."""

    def __init__(self, broker: Broker, model: ModelRef) -> None:
        self.broker, self.model = broker, model
        self.expected: dict[str, list[bytes]] = {}

    def scale(self, *firsts: float, ms: float = 0.0, **fields: Any) -> Job:
        """A job with rows that begin with these numbers, each `ms` long."""
        xs = [np.array([first, *np.random.default_rng(i).random(3)], np.float32) for i, first in enumerate(firsts)]
        return self._job("scale", block_of(toy.ToyScaling(ms), len(xs), x=np.stack(xs)), **fields)

    def count(self, steps: int, rows: int = 1, **fields: Any) -> Job:
        """A job with rows of so many steps, as diffusion has them."""
        places = np.arange(rows)
        return self._job("count", Block(toy.ToyCounting(steps), places, places, np.full(rows, float(steps))), **fields)

    async def submit(self, job: Job) -> str:
        """The id, once it is accepted: a queue that is away or full is asked again for the same job."""
        while True:
            try:
                await self.broker.submit(job)
            except (QueueAway, QueueFull):
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                self.expected[job.id] = expected(job.block)
                return job.id

    async def submit_all(self, jobs: Iterable[Job]) -> list[str]:
        return await asyncio.gather(*map(self.submit, jobs))

    async def running(self) -> int:
        return (await self.broker.depth(str(self.model))).running_jobs

    async def idle(self) -> bool:
        depth = await self.broker.depth(str(self.model))
        return depth.waiting_jobs + depth.running_jobs == 0

    async def events(self, job_id: str) -> list[Events]:
        """All of them, however often the queue goes away meanwhile."""
        while True:
            try:
                return [event async for event in self.broker.events(job_id)]
            except QueueAway:
                await asyncio.sleep(AGAIN_SECONDS)

    async def verdict(self, client: Redis, poison: frozenset[str] = frozenset()) -> Verdict:
        """Waits for every job's end. Poison must have ended in failure; all else with its own bytes."""
        ends = await asyncio.gather(*(self._ends(job_id) for job_id in self.expected))
        lost = [job_id for job_id, events in ends if not self._right(job_id, events, job_id in poison)]
        twice = [job_id for job_id, events in ends if _repeats(events)]
        return Verdict(
            len(ends), lost, twice, max(attempts(client, job_id) for job_id, _ in ends if job_id not in poison)
        )

    async def _ends(self, job_id: str) -> tuple[str, list[Events]]:
        try:
            return job_id, await self.events(job_id)
        except NotFound:
            return job_id, []

    def _right(self, job_id: str, events: list[Events], poisonous: bool) -> bool:
        ended = {row: (one, place) for one in events if one.terminal for place, row in enumerate(one.rows.tolist())}
        if poisonous:
            return [one.kind for one, _ in ended.values()] == ["failed"] * len(self.expected[job_id])
        answers = {
            row: b"".join(array.tobytes() for array in item_of(one.columns, place).values())
            for row, (one, place) in ended.items()
        }
        return answers == dict(enumerate(self.expected[job_id]))

    def _job(self, kind: str, block: Block, seconds: float = 0.005, **fields: Any) -> Job:
        fields = {"detached": True, "request": b"{}"} | fields
        name = f"{self.model}-{secrets.token_hex(16)}"
        return Job(name, self.model, f"/v1/toy/{kind}", block, seconds, **fields)


def _repeats(events: list[Events]) -> bool:
    ids = Counter(pair for one in events for pair in zip(one.rows.tolist(), one.steps.tolist(), strict=True))
    ends = Counter(row for one in events if one.terminal for row in one.rows.tolist())
    return any(times > 1 for times in (*ids.values(), *ends.values()))


def attempts(client: Redis, job_id: str) -> int:
    return int(client.hget(f"{prefix_of(job_id)}job:{job_id}", "attempts") or 0)


def leftovers(client: Redis, model: ModelRef) -> dict[str, float]:
    """What an idle queue still holds: nothing."""
    where = prefix(str(model))
    sizes = {name: client.zcard(where + name) for name in ("ready", "lease", "due", "share")}
    sizes |= {name: float(client.hget(where + "queue", name) or 0) for name in ("waiting_seconds", "running_seconds")}
    sizes["payloads"] = len(list(client.scan_iter(f"{where}payload:*"))) - client.zcard(where + "dead")
    return {name: size for name, size in sizes.items() if size}
