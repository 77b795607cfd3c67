"""The worker's face: take, emit, extend, release."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from redis.exceptions import RedisError

from fivefold.errors import InternalError
from service.arrays import CorruptFrame
from service.broker.base import BUDGET_TOLERANCE_SECONDS, ControlMessage, Emission, QueueAway, WorkerStatus
from service.broker.redis import keys
from service.broker.redis.codec import decode_job, decode_order, encode_event, encode_worker
from service.broker.redis.keys import prefix, prefix_of
from service.broker.redis.link import Link
from service.broker.redis.replies import RESUBSCRIBE_SECONDS, heard
from service.jobs import Event, Failure, Lease

MOST_JOBS = 256  # of one taking
CONTROL_WAIT_MS = 1000
ASK_SECONDS = 0.25  # without news
Heard = tuple[bytes, bytes] | None


class RedisConsumer(Link):
    """Consumer; see service/broker/base.py.

    A worker that is busy and has room would ask between any two steps: it asks when it has heard that a line is no
    longer empty, as long as there was something the last time, and now and then, for leases that ran out.
    """

    _turn = 0
    _listening, _arrived, _asked_at = False, True, 0.0

    async def take(self, models: Sequence[str], *, budget: float, wait: float) -> Sequence[Lease]:
        if not models:
            await asyncio.sleep(wait)
            return []
        if wait <= 0.0 and not self._worth_asking():
            return []
        self._turn += 1
        start = self._turn % len(models)
        begun = await self._begin([prefix(model) for model in (*models[start:], *models[:start])], budget, wait)
        leases = [await self._lease(*fields) for fields in begun]
        return [lease for lease in leases if lease is not None]

    def _worth_asking(self) -> bool:
        return self._arrived or not self._listening or time.monotonic() - self._asked_at > ASK_SECONDS

    async def _begin(self, prefixes: Sequence[str], budget: float, wait: float) -> Any:
        self._arrived, self._asked_at = False, time.monotonic()
        begun = self.run("begin", prefixes, repr(budget + BUDGET_TOLERANCE_SECONDS), MOST_JOBS, wire=self.turning)
        try:
            if wait > 0.0:  # the bell carries no work: whether it rang or not, what is there is taken
                bells = [f"{name}bell" for name in prefixes]
                _, jobs = await asyncio.gather(self.turning.call("BLPOP", *bells, wait, patience=wait), begun)
            else:
                jobs = await begun
        except QueueAway:
            self._arrived = True
            raise
        self._arrived = self._arrived or bool(jobs)
        return jobs

    async def extend(self, leases: Sequence[Lease]) -> Sequence[Lease]:
        return await self._lost("extend", [(lease, ()) for lease in leases])

    async def release(self, leases: Sequence[Lease]) -> None:
        await self._lost("release", [(lease, ()) for lease in leases])

    async def emit(self, emissions: Sequence[Emission]) -> Sequence[Lease]:
        return await self._lost("emit", [(lease, _flat(events)) for lease, events in emissions])

    async def cancelled(self) -> AsyncIterator[str]:
        messages = heard(self.listener, keys.CANCELLED, keys.ARRIVED)
        first = asyncio.ensure_future(anext(messages))
        await asyncio.wait([first], timeout=1.0)  # a server that is away is listened to when it is back
        return self._cancelled(messages, first)

    async def _cancelled(self, messages: AsyncIterator[Heard], first: "asyncio.Future[Heard]") -> AsyncIterator[str]:
        await first
        self._listening = True
        async for message in messages:
            if message is not None and message[0] == keys.CANCELLED.encode():
                yield message[1].decode()
            else:
                self._arrived = True

    async def heartbeat(self, status: WorkerStatus) -> None:
        names = [str(served.ref) for served in status.models]
        announced = [self.run("announce", [keys.MODELS], *names)] if names else []
        await asyncio.gather(self.run("beat", [keys.WORKERS], status.id, encode_worker(status)), *announced)

    async def control(self) -> AsyncIterator[ControlMessage]:
        try:
            return self._orders(await self._newest_order())
        except QueueAway:  # a server that is away is listened to when it is back
            return self._orders(b"")

    async def _newest_order(self) -> bytes:
        newest = await self.wire.call("XREVRANGE", keys.CONTROL, "+", "-", "COUNT", 1)
        return newest[0][0] if newest else b"0-0"

    async def _orders(self, after: bytes) -> AsyncIterator[ControlMessage]:
        while True:
            try:
                after = after or await self._newest_order()
                streams: Any = await self.listener.xread({keys.CONTROL: after}, count=16, block=CONTROL_WAIT_MS)
            except (QueueAway, RedisError, OSError, TimeoutError):
                await asyncio.sleep(RESUBSCRIBE_SECONDS)
                continue
            for found, fields in streams[0][1] if streams else ():
                yield decode_order(fields[b"order"])
                after = found

    async def _lease(self, job_id: bytes, payload: bytes, token: bytes, attempt: bytes, left_ms: bytes) -> Lease | None:
        """The lease; a job whose payload is damaged fails alone."""
        try:
            job = decode_job(payload)
        except CorruptFrame:
            await self._fail(job_id.decode(), token)
            return None
        if left_ms:  # by this machine's clock
            job = replace(job, deadline=self.clock() + int(left_ms) / 1e3)
        return Lease(job, int(token), int(attempt))

    async def _fail(self, job_id: str, token: bytes) -> None:
        where = prefix_of(job_id)
        rows = (await self.wire.call("HGET", f"{where}job:{job_id}", "rows") or b"").split()
        failure = Failure(InternalError.code, "the request was damaged in the queue: send it again")
        events = [Event(job_id, int(row), 0, "failed", error=failure) for row in rows]
        await self.run("emit", [where], job_id, token, *_flat(events))

    async def _lost(self, script: str, jobs: Sequence[tuple[Lease, Sequence[object]]]) -> list[Lease]:
        """Run a fenced script on these jobs, model by model; returns the leases that are lost."""
        lost: set[tuple[str, int]] = set()
        for model, own in groupby(sorted(jobs, key=_model), key=_model):
            arguments = [part for lease, flat in own for part in (lease.job.id, lease.token, *flat)]
            lost.update((model, int(token)) for token in await self._fenced(script, model, arguments))
        return [pair[0] for pair in jobs if (_model(pair), pair[0].token) in lost]

    async def _fenced(self, script: str, model: str, arguments: Sequence[object]) -> Sequence[bytes]:
        return await self.run(script, [prefix(model)], *arguments, wire=self.turning) or ()


def _model(pair: tuple[Lease, object]) -> str:
    return str(pair[0].job.model)


def _flat(events: Sequence[Event]) -> list[object]:
    """What emit.lua reads of a job's events: their number, and seven arguments each."""
    return [len(events), *(part for event in events for part in _arguments(event))]


def _arguments(event: Event) -> Iterable[object]:
    size = sum(array.nbytes for array in event.arrays.values())
    progress = 1.0 if event.terminal else event.progress
    failure = f"{event.error.code} {event.error.message}" if event.error is not None else ""
    return event.row, event.index, event.kind, size, repr(progress), failure, encode_event(event)
