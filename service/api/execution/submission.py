"""One request on its way into the queue: block -> jobs, and what happens when its caller waits no longer."""

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from starlette.types import Receive

from fivefold.csv_dialect import Dialect
from fivefold.errors import FivefoldError, InvalidInput, NotFound
from fivefold.operation import SamplingRequest, SeededRequest
from service import rng
from service.api.access.keys import Tenant
from service.api.execution.catalogue import Served
from service.api.execution.context import ApiContext
from service.api.execution.given_tables import with_faults, with_model_columns
from service.api.execution.job_ids import new_job_id, shard_id
from service.api.execution.outcome import Outcome
from service.api.media import offload
from service.broker import admission
from service.broker.base import Producer, QueueAway
from service.broker.weight import block_bytes
from service.families.pipeline import Pipeline
from service.jobs import MAX_JOB_ROWS, Block, Events, Job
from service.settings import Settings

MAX_KEY_CHARACTERS = 255  # of an idempotency key, the only header field that is kept with a job


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who asks, and how: what a request says outside its own fields. `arrived_at` is in seconds since the epoch.

    `body_sha256` is what an idempotency key stands for. A `detached` request outlives its caller's connection.
    Raises InvalidInput for a key that is too long.
    """

    tenant: Tenant
    arrived_at: float
    idempotency_key: str | None = None
    body_sha256: str = ""
    detached: bool = False

    def __post_init__(self) -> None:
        if self.idempotency_key is not None and len(self.idempotency_key) > MAX_KEY_CHARACTERS:
            raise InvalidInput.at(
                "idempotency-key",
                f"a key of {len(self.idempotency_key)} characters given, at most {MAX_KEY_CHARACTERS} are kept with a "
                "job: send a shorter one",
            )


async def prepare(
    context: ApiContext, pipeline: Pipeline[Any], asked: SeededRequest, caller: Caller, *, large: bool = False
) -> "Submission":
    """Everything between a validated request and the queue. Raises InvalidInput, UnknownModel, NotReady.

    A `large` one is prepared in a thread.
    """
    served = await context.catalogue.find(asked.model, pipeline.operation.family)
    request = effective(asked, str(served.model.ref), caller.idempotency_key)
    request, table = with_model_columns(request, served.model, stored=caller.detached)
    prepared = await offload.run(lambda: pipeline.prepare(request, served.model), large=large)
    if prepared.count > (limit := context.settings.max_rows):
        raise InvalidInput(f"{prepared.count} items given, the limit is {limit}: send several requests")
    if len(prepared.block) > MAX_JOB_ROWS and pipeline.kind is not None:
        _require_room(context.settings, served, prepared.block)
    return Submission(
        request=request,
        pipeline=pipeline,
        model=served.model,
        prepared=prepared if table is None else with_faults(prepared, table),
        arrived_at=caller.arrived_at,
        served=served,
        waiting=context.waiting,
        caller=caller,
        csv_dialect=None if table is None else table.dialect,
    )


def _parts(block: Block) -> list[Block]:
    """The blocks of the jobs of a request."""
    return [block[start : min(start + MAX_JOB_ROWS, len(block))] for start in range(0, len(block), MAX_JOB_ROWS)]


def _require_room(settings: Settings, served: Served, block: Block) -> None:
    """Raises InvalidInput where the jobs of a request do not fit in an empty queue together."""
    parts = _parts(block)
    seconds, size_bytes = sum(map(served.predicted_seconds, parts)), sum(map(block_bytes, parts))
    if seconds > settings.max_queue_seconds or len(parts) > settings.max_queued_jobs:
        raise admission.too_much_work(len(parts), settings.max_queued_jobs, seconds, settings.max_queue_seconds)
    if size_bytes > settings.max_queue_bytes:
        raise admission.too_large(size_bytes, settings.max_queue_bytes)


def effective(asked: SeededRequest, model: str, idempotency_key: str | None) -> SeededRequest:
    """The request as it will be run and echoed: its model resolved and its seed drawn.

    A repeated idempotency key must mean the same job, so it decides the seed that is not given.
    """
    update: dict[str, Any] = {} if asked.model == model else {"model": model}
    if asked.seed is None and asked.seeds is None:
        update["seed"] = _seed(idempotency_key) if isinstance(asked, SamplingRequest) else 0
    return asked.model_copy(update=update) if update else asked


def _seed(idempotency_key: str | None) -> int:
    if idempotency_key is None:
        return rng.draw_seed()
    return int.from_bytes(hashlib.sha256(idempotency_key.encode()).digest()[:8], "big") % rng.DRAWN_SEED_LIMIT


@dataclass(kw_only=True)
class Submission(Outcome):
    """A request that this process puts into the queue."""

    served: Served
    waiting: Counter[str]
    caller: Caller
    csv_dialect: Dialect | None = None

    @property
    def detached(self) -> bool:
        return self.caller.detached and self.pipeline.kind is not None

    @property
    def deadline(self) -> float | None:
        """In seconds since the epoch."""
        return None if self.request.deadline_ms is None else self.arrived_at + self.request.deadline_ms / 1e3

    async def submit(self, producer: Producer, *, stream: bool) -> None:
        """Queue the block, in jobs of at most 256 items. Raises QueueFull, IdempotencyConflict; then none is queued.

        Items that need no session have ended as they were prepared.
        """
        self.submitted_at, block = time.time(), self.prepared.block
        if self.pipeline.kind is None:
            self.ends = [Events("", "done", block.rows, np.zeros(len(block), np.int64), block.columns)]
            return
        parts, created = _parts(block), list[str]()
        try:
            for part in parts:
                accepted = await producer.submit(self._job(part, len(parts), stream=stream))
                self.job_ids.append(accepted.job_id)
                if not self.detached:
                    self.waiting[accepted.job_id] += 1
                elif not accepted.existing:
                    created.append(accepted.job_id)
        except BaseException:
            for job_id in created:
                await producer.cancel(job_id, self.caller.tenant.name)
            await self.leave(producer)
            raise

    def lost(self, error: NotFound) -> FivefoldError:
        return QueueAway("the queue's server was emptied and the job is gone: send the request again")

    async def leave(self, producer: Producer) -> None:
        """Wait no longer. A job that has not ended, and that no other request waits for, leaves queue and device."""
        while self.job_ids and not self.detached:
            job_id = self.job_ids.pop()
            self.waiting[job_id] -= 1
            if self.waiting[job_id] <= 0:  # a repeated idempotency key makes several requests wait for one job
                del self.waiting[job_id]
                if not self.finished_at:
                    with suppress(NotFound):  # it has ended and is forgotten
                        await producer.abandon(job_id)

    @asynccontextmanager
    async def while_connected(self, receive: Receive, producer: Producer) -> AsyncIterator[None]:
        """While inside, a closed connection or a passed deadline ends the wait for the jobs."""
        watcher = asyncio.create_task(self._watch(receive, producer))
        try:
            yield
        finally:
            watcher.cancel()
            await self.leave(producer)

    async def _watch(self, receive: Receive, producer: Producer) -> None:
        """The worker keeps deadlines too, but one that hangs in a step or is gone keeps none."""
        if self.deadline is None:
            await _disconnect(receive)
        else:
            try:
                await asyncio.wait_for(_disconnect(receive), self.deadline - time.time())
            except TimeoutError:
                self.expired = True
        await self.leave(producer)

    def _job(self, part: Block, shards: int, *, stream: bool) -> Job:
        """The next shard. The first one carries the key, and what the answer is made from later."""
        shard, ref = len(self.job_ids), self.model.ref
        return Job(
            id=shard_id(self.job_ids[0], shard) if shard else new_job_id(str(ref), shards),
            model=ref,
            operation=self.pipeline.operation.path,
            block=part,
            predicted_seconds=self.served.predicted_seconds(part),
            stream=stream,
            deadline=self.deadline,
            priority=self.request.priority,
            tenant=self.caller.tenant.name,
            weight=self.caller.tenant.weight,
            idempotency_key=None if shard else self.caller.idempotency_key,
            body_sha256=self.caller.body_sha256,
            detached=self.detached,
            request=b"" if shard or not self.detached else self.as_asked(),
            format=self.served.format,
        )


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
