"""One request on its way through the queue: rows -> jobs -> events -> items."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from starlette.requests import Request as HttpRequest

from fivefold.errors import Cancelled, DeadlineExceeded, FivefoldError, InvalidInput, NotFound, error_of
from fivefold.operation import SamplingRequest, SeededRequest
from service.api.catalogue import Served
from service.api.encoding import Rendered
from service.api.keys import Tenant
from service.api.security import new_id
from service.arrays import fingerprint
from service.broker.base import Producer, QueueAway
from service.families.pipeline import Fields, Pipeline, Refusal
from service.jobs import Event, Job, Row

ROWS_PER_JOB = 256


@dataclass
class Submission:
    """An effective request, its prepared items, and what became of them."""

    request: SeededRequest
    pipeline: Pipeline[SeededRequest]
    served: Served
    prepared: Sequence[Row | Refusal]
    arrived_at: float
    waiting: Counter[str]
    tenant: Tenant
    idempotency_key: str | None = None
    asked_sha256: str = ""
    traceparent: str | None = None
    job_ids: list[str] = field(default_factory=list)
    ends: dict[int, Event] = field(default_factory=dict)
    expired: bool = False
    submitted_at: float = 0.0
    finished_at: float = 0.0

    @property
    def rows(self) -> list[Row]:
        return [item for item in self.prepared if isinstance(item, Row)]

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
        try:
            for start in range(0, len(rows), ROWS_PER_JOB):
                job = self._job(kind, tuple(rows[start : start + ROWS_PER_JOB]), stream=stream)
                self.job_ids.append((await producer.submit(job)).job_id)
                self.waiting[self.job_ids[-1]] += 1
        except BaseException:
            await self.leave(producer)
            raise

    async def events(self, producer: Producer) -> AsyncIterator[Event]:
        """Every event, until each row has ended. Raises QueueAway."""
        for job_id in tuple(self.job_ids):
            try:
                async for event in producer.events(job_id):
                    if event.terminal:
                        self.ends[event.row] = event
                    yield event
            except NotFound as error:
                raise QueueAway("the queue's server was emptied and the job is gone: send the request again") from error
        self.finished_at = time.time()

    async def leave(self, producer: Producer) -> None:
        """Wait no longer. What nobody else waits for leaves the queue, or the device at the next step."""
        while self.job_ids:
            job_id = self.job_ids.pop()
            self.waiting[job_id] -= 1
            if self.waiting[job_id] <= 0:  # a repeated idempotency key makes several requests wait for one job
                del self.waiting[job_id]
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

    def rendered(self) -> Rendered:
        """The answer. Raises the first item's error where no item succeeded."""
        done = sorted((end for end in self.ends.values() if end.kind == "done"), key=lambda end: end.row)
        if not done:
            raise self._first_error()
        fields = dict(zip((end.row for end in done), self._fields(done), strict=True))
        items = [fields.get(index) or self._failed(index) for index in range(len(self.prepared))]
        return Rendered(self.pipeline.operation, self.served.model, items, self._parameters(), self._meta(done))

    def item(self, end: Event) -> Fields:
        """One finished row, as the answer will have it."""
        return self._fields([end])[0] if end.kind == "done" else self._failed(end.row)

    def _fields(self, done: Sequence[Event]) -> list[Fields]:
        seeds = {row.index: row.seed for row in self.rows}
        rendered = self.pipeline.render(self.request, done, self.served.model)
        return [
            {"index": end.row, "seed": seeds[end.row], **fields} for end, fields in zip(done, rendered, strict=True)
        ]

    def _failed(self, index: int) -> Fields:
        item = self.prepared[index]
        if isinstance(item, Refusal):
            return {"index": index, "error": {"code": InvalidInput.code, "message": item.message}}
        error = self._error(self.ends[index])
        return {"index": index, "error": {"code": error.code, "message": error.message}}

    def _first_error(self) -> FivefoldError:
        return self._error(self.ends[min(self.ends)])

    def _error(self, end: Event) -> FivefoldError:
        """Why a row failed. What was cancelled here because its time was over has exceeded its deadline."""
        assert end.error is not None
        if self.expired and end.error.code == Cancelled.code:
            return DeadlineExceeded("the deadline passed before the row was finished")
        return error_of(end.error.code)(end.error.message)

    def _parameters(self) -> Mapping[str, object]:
        parameters = self.request.model_dump(by_alias=True, mode="json", exclude=set(type(self.request).data))
        return parameters | ({"n": len(self.prepared)} if isinstance(self.request, SamplingRequest) else {})

    def _meta(self, done: Sequence[Event]) -> Mapping[str, object]:
        ref, manifest = self.served.model.ref, self.served.model.manifest
        compute_ms = max(end.compute_ms for end in done)
        return {
            "model": {"name": ref.name, "version": ref.version, "digest": ref.digest},
            "exactness": manifest.exactness,
            "scope": ", ".join(sorted({end.scope for end in done} - {""})),
            "timing": {
                "queue_ms": max(0.0, (self.finished_at - self.submitted_at) * 1e3 - compute_ms),
                "compute_ms": compute_ms,
                "total_ms": (time.time() - self.arrived_at) * 1e3,
            },
            "receipt": fingerprint(end.arrays for end in done),
        }

    def _job(self, kind: str, rows: tuple[Row, ...], *, stream: bool) -> Job:
        """The next shard: its id begins with the first one's."""
        ref, key, shard = self.served.model.ref, self.idempotency_key, len(self.job_ids)
        return Job(
            id=f"{self.job_ids[0]}.{shard}" if shard else f"{ref}-{new_id()}",
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
            idempotency_key=f"{key}/{shard}" if key else None,
            body_sha256=self.asked_sha256,
            traceparent=self.traceparent,
        )
