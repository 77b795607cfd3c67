"""The API's face: submit, follow, cancel."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from itertools import chain
from typing import TypeVar

from fivefold.errors import NotFound
from service.arrays import CorruptFrame
from service.broker.base import Accepted, Depth, JobStatus, QueueAway
from service.broker.codec import decode_events
from service.broker.redis import keys
from service.broker.redis.enqueuing import Enqueuing
from service.broker.redis.job_status import job_status
from service.broker.redis.keys import prefix, prefix_of
from service.broker.redis.replies import Inbox
from service.broker.redis.script_client import ScriptClient
from service.broker.redis.unreadable import Unreadable
from service.jobs import Events, Job

FoundT = TypeVar("FoundT")
PAGE_JOBS = 100
FOLLOWED_FRAMES = 256  # in one reading


class RedisProducer:
    """Producer; see service/broker/base.py."""

    def __init__(self, client: ScriptClient, unreadable: Unreadable) -> None:
        self._client, self._unreadable = client, unreadable
        self._enqueuing = Enqueuing(client)
        self._announced: set[str] = set()

    async def submit(self, job: Job) -> Accepted:
        replies = self._client.here.replies
        if not job.detached:
            replies.expect(job.id)
        try:
            accepted, _ = await asyncio.gather(self._enqueuing.enqueue(job), self._announce(str(job.model)))
        except BaseException:
            replies.forget(job.id)
            raise
        if accepted.existing:
            replies.forget(job.id)
        return accepted

    async def events(self, job_id: str) -> AsyncIterator[Events]:
        replies = self._client.here.replies
        inbox = replies.reader(job_id)
        try:
            while not inbox.read:
                if (frame := inbox.take()) is not None:
                    if frame:  # what is empty was a step, and is gone
                        yield self._decode(job_id, frame)
                elif inbox.stale:
                    await self._follow(job_id, inbox)
                else:
                    await inbox.wait()
        finally:
            replies.close(job_id, inbox)

    async def ends(self, job_id: str) -> Sequence[Events]:
        return [one async for one in self.events(job_id) if one.terminal]

    async def status(self, job_id: str, tenant: str) -> JobStatus:
        flat = await self._client.run("status", [prefix_of(job_id)], job_id, tenant)
        return job_status(job_id, _found(flat, job_id))

    async def jobs(self, tenant: str, cursor: str | None = None) -> tuple[Sequence[JobStatus], str | None]:
        before = f"({cursor}" if cursor is not None else "+inf"
        models = await self._client.command("SMEMBERS", keys.MODELS)
        lists = await asyncio.gather(*(self._page(model, tenant, before) for model in models))
        newest = sorted(chain.from_iterable(lists), reverse=True)
        statuses = await asyncio.gather(*(self._status_if_there(job_id, tenant) for _, job_id in newest[:PAGE_JOBS]))
        following = str(newest[PAGE_JOBS - 1][0]) if len(newest) > PAGE_JOBS else None
        return [status for status in statuses if status is not None], following

    async def cancel(self, job_id: str, tenant: str) -> bool:
        was = await self._client.run("cancel", [prefix_of(job_id)], job_id, tenant, self._client.id)
        return bool(_found(was, job_id) in (b"queued", b"running"))

    async def abandon(self, job_id: str) -> None:
        self._client.here.replies.forget(job_id)
        _found(await self._client.run("cancel", [prefix_of(job_id)], job_id, "", self._client.id), job_id)

    async def request(self, job_id: str, tenant: str) -> bytes:
        where = prefix_of(job_id)
        owner = self._client.command("HGET", f"{where}job:{job_id}", "tenant")
        kept = self._client.command("GET", f"{where}request:{job_id}")
        theirs, text = await asyncio.gather(owner, kept)
        _found(theirs == tenant.encode(), job_id)
        return text or b""

    async def depth(self, model: str) -> Depth:
        waiting, running, seconds = await self._client.run("depth", [prefix(model)])
        return Depth(int(waiting), int(running), float(seconds))

    async def _announce(self, model: str) -> None:
        """Once for each model, in the round trip of its first job."""
        if model not in self._announced:
            await self._client.command("SADD", keys.MODELS, model)
            self._announced.add(model)

    async def _page(self, model: bytes, tenant: str, before: str) -> list[tuple[int, str]]:
        """Stamps and ids of the tenant's jobs of one model."""
        name = self._unreadable.text("model", model)
        if name is None:
            return []
        page = "WITHSCORES", "LIMIT", 0, PAGE_JOBS + 1
        flat = await self._client.command("ZREVRANGEBYSCORE", f"{prefix(name)}jobs:{tenant}", before, "-inf", *page)
        found = (
            (stamp, self._unreadable.text("job", job_id)) for job_id, stamp in zip(flat[::2], flat[1::2], strict=True)
        )
        return [(int(float(stamp)), job_id) for stamp, job_id in found if job_id is not None]

    async def _follow(self, job_id: str, inbox: Inbox) -> None:
        inbox.stale, start = False, inbox.position
        asked = job_id, self._client.id, start, FOLLOWED_FRAMES
        state, more, *frames = _found(await self._client.run("follow", [prefix_of(job_id)], *asked), job_id)
        inbox.offer(start, b"running" if more == b"1" else state, frames)
        inbox.stale = inbox.stale or more == b"1"

    async def _status_if_there(self, job_id: str, tenant: str) -> JobStatus | None:
        flat = await self._client.run("status", [prefix_of(job_id)], job_id, tenant)
        return job_status(job_id, flat) if flat else None

    @staticmethod
    def _decode(job_id: str, frame: bytes) -> Events:
        with suppress(CorruptFrame):
            return decode_events(frame)
        raise QueueAway(f"the queue's server holds a damaged answer of job {job_id}: send the request again")


def _found(answer: FoundT, job_id: str) -> FoundT:
    """The answer. Raises NotFound, also for another tenant's job."""
    if not answer:
        raise NotFound(f"there is no job {job_id}: it may have been forgotten since it ended")
    return answer
