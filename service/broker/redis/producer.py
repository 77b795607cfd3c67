"""The API's face: submit, follow, cancel."""

import asyncio
from asyncio import AbstractEventLoop
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any, TypeVar

from fivefold.errors import NotFound
from service.arrays import CorruptFrame
from service.broker import admission
from service.broker.base import Accepted, Depth, JobStatus, QueueAway
from service.broker.redis import keys
from service.broker.redis.codec import decode_event, decode_status, encode_job
from service.broker.redis.keys import prefix, prefix_of
from service.broker.redis.link import Link
from service.broker.redis.replies import Inbox, Replies
from service.jobs import Event, Job

FoundT = TypeVar("FoundT")
PAGE_JOBS = 100
FOLLOWED_EVENTS = 256  # in one reading


class RedisProducer(Link):
    """Producer; see service/broker/base.py."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._replies: dict[AbstractEventLoop, Replies] = {}
        self._announced: set[str] = set()

    async def submit(self, job: Job) -> Accepted:
        replies = self._subscription()
        if not job.detached:
            replies.expect(job.id)
        try:
            accepted = await self._enqueue(job)
        except BaseException:
            replies.forget(job.id)
            raise
        if accepted.existing:
            replies.forget(job.id)
        return accepted

    async def events(self, job_id: str) -> AsyncIterator[Event]:
        replies = self._subscription()
        inbox = replies.reader(job_id)
        try:
            while True:
                while (frame := inbox.take()) is not None:  # the answer may be here already
                    yield self._decode(job_id, frame)
                if inbox.stale:
                    await self._follow(job_id, inbox)
                elif inbox.ended:
                    return
                else:
                    await inbox.wait()
        finally:
            replies.close(job_id, inbox)

    async def status(self, job_id: str, tenant: str) -> JobStatus:
        await self._owned(job_id, tenant)
        flat = await self.run("status", [prefix_of(job_id)], job_id)
        return decode_status(job_id, _found(flat, job_id))

    async def jobs(self, tenant: str, cursor: str | None = None) -> tuple[Sequence[JobStatus], str | None]:
        before = f"({cursor}" if cursor is not None else "+inf"
        models = await self.wire.call("SMEMBERS", keys.MODELS)
        page = "WITHSCORES", "LIMIT", 0, PAGE_JOBS + 1
        lists = await asyncio.gather(
            *(
                self.wire.call("ZREVRANGEBYSCORE", f"{prefix(model.decode())}jobs:{tenant}", before, "-inf", *page)
                for model in models
            )
        )
        newest = sorted(((int(stamp), job_id.decode()) for job_id, stamp in chain.from_iterable(lists)), reverse=True)
        statuses = await asyncio.gather(*(self._status_if_there(job_id) for _, job_id in newest[:PAGE_JOBS]))
        following = str(newest[PAGE_JOBS - 1][0]) if len(newest) > PAGE_JOBS else None
        return [status for status in statuses if status is not None], following

    async def cancel(self, job_id: str, tenant: str) -> bool:
        was = await self.run("cancel", [prefix_of(job_id)], job_id, tenant, self.id)
        return bool(_found(was, job_id) in (b"queued", b"running"))

    async def abandon(self, job_id: str) -> None:
        self._subscription().forget(job_id)
        _found(await self.run("cancel", [prefix_of(job_id)], job_id, "", self.id), job_id)

    async def request(self, job_id: str, tenant: str) -> bytes:
        await self._owned(job_id, tenant)
        text: bytes | None = await self.wire.call("GET", f"{prefix_of(job_id)}request:{job_id}")
        return text or b""

    async def depth(self, model: str) -> Depth:
        waiting, running, seconds = await self.run("depth", [prefix(model)])
        return Depth(int(waiting), int(running), float(seconds))

    async def close(self) -> None:
        if (replies := self._replies.pop(asyncio.get_running_loop(), None)) is not None:
            await replies.stop()
        await super().close()

    async def _enqueue(self, job: Job) -> Accepted:
        left_ms = "" if job.deadline is None else round((job.deadline - self.clock()) * 1e3)
        fields = chain.from_iterable(self.fields_of(job).items())
        where = [prefix(str(job.model))]
        enqueued = self.run("enqueue", where, job.id, encode_job(job), job.request, self.id, left_ms, *fields)
        (outcome, *facts), _ = await asyncio.gather(enqueued, self._announce(str(job.model)))
        if outcome in (b"accepted", b"existing"):
            return Accepted(facts[0].decode(), existing=outcome == b"existing")
        if outcome == b"other_body":
            raise admission.other_body(job.idempotency_key or job.id, facts[0].decode(), job.body_sha256)
        numbers = [float(fact) for fact in facts]
        if outcome == b"full_of_work":
            raise admission.full_of_work(numbers[0], job.predicted_seconds, self.limits.max_queue_seconds, numbers[1])
        if outcome == b"full_of_jobs":
            raise admission.full_of_jobs(int(numbers[0]), numbers[1], self.limits.max_queued_jobs, numbers[2])
        raise admission.too_late(numbers[0], job.predicted_seconds, float(left_ms) / 1e3)

    def fields_of(self, job: Job) -> dict[str, object]:
        """What the scripts know of a job."""
        arrays = (array for row in job.rows for array in row.arrays.values())
        return {
            "tenant": job.tenant,
            "flow": f"{job.tenant} {job.priority}",
            "weight": self.limits.class_weights[job.priority] * job.weight,
            "seconds": repr(job.predicted_seconds),
            "operation": job.operation,
            "detached": int(job.detached),
            "key": job.idempotency_key or "",
            "body_sha256": job.body_sha256,
            "rows": " ".join(str(row.index) for row in job.rows),
            "row_count": len(job.rows),
            "bytes": sum(array.nbytes for array in arrays),
        }

    async def _announce(self, model: str) -> None:
        """Once for each model, in the round trip of its first job."""
        if model not in self._announced:
            await self.run("announce", [keys.MODELS], model)
            self._announced.add(model)

    async def _follow(self, job_id: str, inbox: Inbox) -> None:
        inbox.stale, start = False, inbox.position
        answer = await self.run("follow", [prefix_of(job_id)], job_id, self.id, start, FOLLOWED_EVENTS)
        state, more, *frames = _found(answer, job_id)
        inbox.offer(start, b"running" if more == b"1" else state, frames)
        inbox.stale = inbox.stale or more == b"1"

    async def _owned(self, job_id: str, tenant: str) -> None:
        owner = await self.wire.call("HGET", f"{prefix_of(job_id)}job:{job_id}", "tenant")
        _found(owner == tenant.encode(), job_id)

    async def _status_if_there(self, job_id: str) -> JobStatus | None:
        flat = await self.run("status", [prefix_of(job_id)], job_id)
        return decode_status(job_id, flat) if flat else None

    def _subscription(self) -> Replies:
        loop = asyncio.get_running_loop()
        if loop not in self._replies:
            self._replies[loop] = Replies(self.listener, keys.reply_channel(self.id))
        return self._replies[loop]

    @staticmethod
    def _decode(job_id: str, frame: bytes) -> Event:
        with suppress(CorruptFrame):
            return decode_event(job_id, frame)
        raise QueueAway(f"the queue's server holds a damaged answer of job {job_id}: send the request again")


def _found(answer: FoundT, job_id: str) -> FoundT:
    """The answer. Raises NotFound, also for another tenant's job."""
    if not answer:
        raise NotFound(f"there is no job {job_id}: it may have been forgotten since it ended")
    return answer
