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
from service.broker.base import Broker, QueueAway
from service.broker.redis.keys import prefix, prefix_of
from service.jobs import Event, Job, Row

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
        rows = tuple(Row(i, i, {"x": x.reshape(toy.SHAPE)}, {"ms": ms}) for i, x in enumerate(xs))
        return self._job("scale", rows, **fields)

    def count(self, *steps: int, **fields: Any) -> Job:
        """A job with rows of as many steps, as diffusion and text have them."""
        rows = tuple(Row(i, i, params={"steps": wanted}, work=wanted) for i, wanted in enumerate(steps))
        return self._job("count", rows, **fields)

    async def submit(self, job: Job) -> str:
        """The id, once it is accepted: a queue that is away or full is asked again for the same job."""
        while True:
            try:
                await self.broker.submit(job)
            except (QueueAway, QueueFull):
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                self.expected[job.id] = [expected(job.session_kind, row) for row in job.rows]
                return job.id

    async def submit_all(self, jobs: Iterable[Job]) -> list[str]:
        return await asyncio.gather(*map(self.submit, jobs))

    async def running(self) -> int:
        return (await self.broker.depth(str(self.model))).running_jobs

    async def idle(self) -> bool:
        depth = await self.broker.depth(str(self.model))
        return depth.waiting_jobs + depth.running_jobs == 0

    async def events(self, job_id: str) -> list[Event]:
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

    async def _ends(self, job_id: str) -> tuple[str, list[Event]]:
        try:
            return job_id, await self.events(job_id)
        except NotFound:
            return job_id, []

    def _right(self, job_id: str, events: list[Event], poisonous: bool) -> bool:
        ended = {event.row: event for event in events if event.terminal}
        if poisonous:
            return [event.kind for event in ended.values()] == ["failed"] * len(self.expected[job_id])
        answers = {row: b"".join(map(bytes, event.arrays.values())) for row, event in ended.items()}
        return answers == dict(enumerate(self.expected[job_id]))

    def _job(self, kind: str, rows: tuple[Row, ...], seconds: float = 0.005, **fields: Any) -> Job:
        fields = {"detached": True, "request": b"{}"} | fields
        name = f"{self.model}-{secrets.token_hex(16)}"
        return Job(name, self.model, f"/v1/toy/{kind}", kind, rows, seconds, **fields)


def _repeats(events: list[Event]) -> bool:
    ids, ends = Counter(event.id for event in events), Counter(event.row for event in events if event.terminal)
    return any(times > 1 for times in (*ids.values(), *ends.values()))


def attempts(client: Redis, job_id: str) -> int:
    return int(client.hget(f"{prefix_of(job_id)}job:{job_id}", "attempts") or 0)


def leftovers(client: Redis, model: ModelRef) -> dict[str, float]:
    """What an idle queue still holds: nothing."""
    where = prefix(str(model))
    sizes = {name: client.zcard(where + name) for name in ("ready", "lease", "due", "flow")}
    sizes |= {name: float(client.hget(where + "queue", name) or 0) for name in ("waiting_seconds", "running_seconds")}
    sizes["payloads"] = len(list(client.scan_iter(f"{where}payload:*"))) - client.zcard(where + "dead")
    return {name: size for name, size in sizes.items() if size}
