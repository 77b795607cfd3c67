"""One request on its way into the queue: rows -> jobs, and what happens when nobody waits for them any more."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from starlette.requests import Request as HttpRequest

from fivefold.errors import NotFound
from service.api.access.keys import Tenant
from service.api.execution.catalogue import Served
from service.api.execution.job_ids import new_job_id, shard_id
from service.api.execution.outcome import Outcome
from service.broker.base import Producer, QueueAway
from service.jobs import Event, Job, Row

ROWS_PER_JOB = 256


@dataclass(kw_only=True)
class Submission(Outcome):
    """A request that this process puts into the queue. A `detached` one outlives whoever waits for it."""

    served: Served
    waiting: Counter[str]
    tenant: Tenant
    detached: bool = False
    idempotency_key: str | None = None
    asked_sha256: str = ""
    traceparent: str | None = None

    @property
    def deadline(self) -> float | None:
        """In seconds since the epoch."""
        return None if self.request.deadline_ms is None else self.arrived_at + self.request.deadline_ms / 1e3

    async def submit(self, producer: Producer, *, stream: bool) -> None:
        """Queue the rows, in jobs of at most 256. Raises QueueFull, IdempotencyConflict; then nothing is queued.

        Rows that need no session have ended as they were prepared.
        """
        self.submitted_at, rows = time.time(), self.rows
        if (kind := self.pipeline.session_kind) is None:
            self.ends = {row.index: Event("", row.index, 0, "done", row.arrays) for row in rows}
            return
        shards = [tuple(rows[start : start + ROWS_PER_JOB]) for start in range(0, len(rows), ROWS_PER_JOB)]
        created: list[str] = []
        try:
            for shard in shards:
                accepted = await producer.submit(self._job(kind, shard, len(shards), stream=stream))
                self.job_ids.append(accepted.job_id)
                if not self.detached:
                    self.waiting[accepted.job_id] += 1
                elif not accepted.existing:
                    created.append(accepted.job_id)
        except BaseException:
            for job_id in created:
                await producer.cancel(job_id, self.tenant.name)
            await self.leave(producer)
            raise

    async def events(self, producer: Producer) -> AsyncIterator[Event]:
        """Every event, until each row has ended. Raises QueueAway."""
        try:
            async for event in super().events(producer):
                yield event
        except NotFound as error:
            raise QueueAway("the queue's server was emptied and the job is gone: send the request again") from error

    async def leave(self, producer: Producer) -> None:
        """Wait no longer. What has not ended, and nobody else waits for, leaves the queue or the device."""
        while self.job_ids and not self.detached:
            job_id = self.job_ids.pop()
            self.waiting[job_id] -= 1
            if self.waiting[job_id] <= 0:  # a repeated idempotency key makes several requests wait for one job
                del self.waiting[job_id]
                if not self.finished_at:
                    with suppress(NotFound):  # it has ended and is forgotten
                        await producer.abandon(job_id)

    @asynccontextmanager
    async def while_connected(self, http: HttpRequest, producer: Producer) -> AsyncIterator[None]:
        """While inside, a closed connection or a passed deadline is noticed, and then nobody waits here any more.

        The worker keeps deadlines too, but one that hangs in a step or is gone keeps none.
        """

        async def watch() -> None:
            try:
                async with asyncio.timeout(None if self.deadline is None else self.deadline - time.time()):
                    while (await http.receive())["type"] != "http.disconnect":
                        pass
            except TimeoutError:
                self.expired = True
            await self.leave(producer)

        watcher = asyncio.create_task(watch())
        try:
            yield
        finally:
            watcher.cancel()
            await self.leave(producer)

    def _job(self, kind: str, rows: tuple[Row, ...], shards: int, *, stream: bool) -> Job:
        """The next shard. The first one carries the key, and what the answer is made from later."""
        shard, ref = len(self.job_ids), self.model.ref
        return Job(
            id=shard_id(self.job_ids[0], shard) if shard else new_job_id(str(ref), shards),
            model=ref,
            operation=self.pipeline.operation.path,
            session_kind=kind,
            rows=rows,
            predicted_seconds=self.served.predicted_seconds(kind, sum(row.work for row in rows)),
            stream=stream,
            deadline=self.deadline,
            priority=self.request.priority,
            tenant=self.tenant.name,
            weight=self.tenant.weight,
            idempotency_key=None if shard else self.idempotency_key,
            body_sha256=self.asked_sha256,
            traceparent=self.traceparent,
            detached=self.detached,
            request=b"" if shard or not self.detached else self.as_asked(),
        )
