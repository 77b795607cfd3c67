"""The worker's face: take, emit, extend, release."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np
from redis.exceptions import RedisError

from service.arrays import CorruptFrame
from service.broker.base import BUDGET_TOLERANCE_SECONDS, Emission, QueueAway
from service.broker.codec import decode_job, decode_order, encode_events, encode_worker
from service.broker.redis import keys
from service.broker.redis.keys import bell, prefix
from service.broker.redis.replies import RESUBSCRIBE_SECONDS, subscribed_messages
from service.broker.redis.script_client import ScriptClient
from service.broker.redis.scripts import ranges
from service.broker.redis.unreadable import Unreadable
from service.jobs import Events, Floats, Integers, Kinds, Lease
from service.workers import ControlMessage, WorkerStatus

MOST_JOBS = 256  # of one taking
CONTROL_WAIT_MS = 1000
ASK_SECONDS = 0.25  # without news
Published = tuple[bytes, bytes] | None


class RedisConsumer:
    """Consumer; see service/broker/base.py.

    A worker that is busy and has room would ask between any two steps: it asks when it has heard that a line is no
    longer empty, as long as there was something the last time, and now and then, for leases that ran out.
    """

    def __init__(self, client: ScriptClient, unreadable: Unreadable, kinds: Kinds, formats: Sequence[int]) -> None:
        self._client, self._unreadable, self._kinds, self._formats = client, unreadable, kinds, formats
        self._turn = 0
        self._listening, self._arrived, self._asked_at = False, True, 0.0

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

    async def extend(self, leases: Sequence[Lease]) -> Sequence[Lease]:
        lost: set[bytes] = set()
        for model, own in _by_model(leases):
            lost.update(await self._client.run_turn("extend", [prefix(model)], *_named(own)))
        return [lease for lease in leases if str(lease.token).encode() in lost]

    async def release(self, leases: Sequence[Lease]) -> None:
        for model, own in _by_model(leases):
            await self._client.run_turn("release", [prefix(model)], *_named(own))

    async def emit(self, emissions: Sequence[Emission]) -> Sequence[Lease]:
        lost: list[Lease] = []
        pending: dict[tuple[str, int], tuple[Lease, list[Events]]] = {}
        for lease, events in emissions:
            pending.setdefault((str(lease.job.model), lease.token), (lease, []))[1].extend(events)
        while pending:
            answers = [
                answer
                for model in sorted({model for model, _ in pending})
                for answer in await self._emit(model, pending)
            ]
            again = {}
            for key, cut, rows in answers:
                lease, events = pending[key]
                if cut:
                    again[key] = lease, _cut(events, int(cut), rows)
                else:
                    lost.append(lease)
            pending = again
        return lost

    async def cancelled(self) -> AsyncIterator[str]:
        messages = subscribed_messages(self._client.here.listener, keys.CANCELLED, keys.ARRIVED)
        first = asyncio.ensure_future(anext(messages))
        await asyncio.wait([first], timeout=1.0)  # a server that is away is listened to when it is back
        return self._cancelled(messages, first)

    async def heartbeat(self, status: WorkerStatus) -> None:
        names = [str(served.ref) for served in status.models]
        announced = [self._client.command("SADD", keys.MODELS, *names)] if names else []
        beat = self._client.run("beat", [keys.WORKERS], status.id, encode_worker(status))
        await asyncio.gather(beat, *announced)

    async def control(self) -> AsyncIterator[ControlMessage]:
        try:
            return self._orders(await self._newest_order())
        except QueueAway:  # a server that is away is listened to when it is back
            return self._orders(b"")

    def _worth_asking(self) -> bool:
        return self._arrived or not self._listening or time.monotonic() - self._asked_at > ASK_SECONDS

    async def _begin(self, prefixes: Sequence[str], budget: float, wait: float) -> Any:
        self._arrived, self._asked_at = False, time.monotonic()
        formats = " ".join(map(str, self._formats))
        begun = self._client.run_turn("begin", prefixes, repr(budget + BUDGET_TOLERANCE_SECONDS), MOST_JOBS, formats)
        try:
            if wait > 0.0:  # the bell carries no work: whether it rang or not, what is there is taken
                bells = [bell(where, number) for where in prefixes for number in self._formats]
                waited = self._client.here.turns.ask("BLPOP", *bells, wait, patience=wait)
                _, jobs = await asyncio.gather(waited, begun)
            else:
                jobs = await begun
        except QueueAway:
            self._arrived = True
            raise
        self._arrived = self._arrived or bool(jobs)
        return jobs

    async def _lease(
        self, where: bytes, job_id: bytes, payload: bytes, token: bytes, attempt: bytes, left_ms: bytes
    ) -> Lease | None:
        """The lease; a job that cannot be read is a dead letter, alone."""
        try:
            job = decode_job(payload, self._kinds)
        except CorruptFrame as error:
            self._unreadable.skip("job", error)
            await self._client.run("refuse", [where], job_id, token, f"it cannot be read: {error}"[:500])
            return None
        if left_ms:  # by this machine's clock
            job = replace(job, deadline=self._client.clock() + int(left_ms) / 1e3)
        return Lease(job, int(token), int(attempt))

    async def _emit(
        self, model: str, pending: Mapping[tuple[str, int], Emission]
    ) -> list[tuple[tuple[str, int], bytes, bytes]]:
        """For each lease of this model that is lost, or has a block to cut: its key, the block, its new rows."""
        own = [emission for (name, _), emission in pending.items() if name == model]
        arguments = [part for lease, events in own for part in _arguments(lease, events)]
        answers = await self._client.run_turn("emit", [prefix(model)], *arguments)
        return [
            ((model, int(token)), cut, rows)
            for token, cut, rows in zip(*(answers[part::3] for part in range(3)), strict=True)
        ]

    async def _cancelled(
        self, messages: AsyncIterator[Published], first: "asyncio.Future[Published]"
    ) -> AsyncIterator[str]:
        await first
        self._listening = True
        async for message in messages:
            if message is None or message[0] != keys.CANCELLED.encode():
                self._arrived = True
            elif (job_id := self._unreadable.text("cancel", message[1])) is not None:
                yield job_id

    async def _newest_order(self) -> bytes:
        newest = await self._client.command("XREVRANGE", keys.CONTROL, "+", "-", "COUNT", 1)
        return newest[0][0] if newest else b"0-0"

    async def _orders(self, after: bytes) -> AsyncIterator[ControlMessage]:
        listener = self._client.here.listener
        while True:
            try:
                after = after or await self._newest_order()
                streams: Any = await listener.xread({keys.CONTROL: after}, count=16, block=CONTROL_WAIT_MS)
            except (QueueAway, RedisError, OSError, TimeoutError):
                after = await self._after_a_fault(after)
                continue
            for found, fields in streams[0][1] if streams else ():
                after = found
                if (order := self._order(fields)) is not None:
                    yield order

    async def _after_a_fault(self, after: bytes) -> bytes:
        """Where to go on: from the newest order, where what stood there was no stream."""
        await asyncio.sleep(RESUBSCRIBE_SECONDS)
        try:
            newest = await self._newest_order()
        except QueueAway:
            return after
        return b"0-0" if newest == b"0-0" else after

    def _order(self, fields: dict[bytes, bytes]) -> ControlMessage | None:
        try:
            return decode_order(fields.get(b"order", b""))
        except CorruptFrame as error:
            self._unreadable.skip("order", error)
            return None


def _by_model(leases: Iterable[Lease]) -> Iterable[tuple[str, list[Lease]]]:
    ordered = sorted(leases, key=lambda lease: str(lease.job.model))
    return [(model, list(own)) for model, own in groupby(ordered, key=lambda lease: str(lease.job.model))]


def _named(leases: Iterable[Lease]) -> list[object]:
    return [part for lease in leases for part in (lease.job.id, lease.token)]


def _cut(events: Sequence[Events], first: int, rows: bytes) -> list[Events]:
    """What is left to publish: of the block `first` these rows, and the blocks behind it."""
    fresh = np.array(rows.split(), np.int64)
    return [events[first].select(np.isin(events[first].rows, fresh)), *events[first + 1 :]]


def _arguments(lease: Lease, events: Sequence[Events]) -> list[object]:
    parts: list[object] = [lease.job.id, lease.token, len(events)]
    for one in events:
        failure = f"{one.failure.code} {one.failure.message}" if one.failure is not None else ""
        progress = one.progress if one.kind == "step" and len(one.progress) else np.full(1, float(one.terminal))
        parts += [ranges(one.rows), _numbers(one.steps), one.kind, _numbers(progress), failure]
        parts.append(encode_events(one, lease.job.format))
    return parts


def _numbers(column: Integers | Floats) -> str:
    """One number where all are equal, else one for each row."""
    numbers = column.tolist()
    return repr(numbers[0]) if len(set(numbers)) == 1 else " ".join(map(repr, numbers))
