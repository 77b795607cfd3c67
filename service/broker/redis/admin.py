"""The operator's face: workers, dead letters, orders, aliases."""

import asyncio
from collections.abc import Mapping, Sequence
from itertools import chain

from fivefold.errors import NotFound
from service.arrays import CorruptFrame
from service.broker.base import DeadJob
from service.broker.codec import decode_job, decode_worker, encode_order
from service.broker.redis import keys
from service.broker.redis.keys import prefix, prefix_of
from service.broker.redis.script_client import ScriptClient
from service.broker.redis.scripts import fields_of
from service.broker.redis.unreadable import Unreadable
from service.jobs import Kinds
from service.workers import ControlMessage, WorkerStatus


class RedisAdmin:
    """Admin; see service/broker/base.py."""

    def __init__(self, client: ScriptClient, unreadable: Unreadable, kinds: Kinds) -> None:
        self._client, self._unreadable, self._kinds = client, unreadable, kinds

    async def workers(self) -> Sequence[WorkerStatus]:
        now_ms, *flat = await self._client.run("workers", [keys.WORKERS])
        found = [self._worker(beat, int(now_ms)) for beat in flat[1::2]]
        return [status for status in found if status is not None]

    async def dead(self) -> Sequence[DeadJob]:
        models = await self._client.command("SMEMBERS", keys.MODELS)
        names = [name for name in (self._unreadable.text("model", model) for model in models) if name is not None]
        return list(chain.from_iterable(await asyncio.gather(*map(self._dead_of, names))))

    async def replay(self, job_id: str) -> None:
        where = prefix_of(job_id)
        payload = await self._client.command("GET", f"{where}payload:{job_id}")
        try:
            job = decode_job(payload or b"", self._kinds)
        except CorruptFrame as error:
            raise NotFound(f"there is no dead job {job_id} that can be read here: {error}") from error
        if not await self._client.run("replay", [where], job_id, *fields_of(job, self._client.limits)):
            raise NotFound(f"there is no dead job {job_id}")

    async def send(self, message: ControlMessage) -> None:
        bound = "MAXLEN", "~", keys.CONTROL_MESSAGES
        await self._client.command("XADD", keys.CONTROL, *bound, "*", "order", encode_order(message))

    async def set_alias(self, alias: str, reference: str) -> None:
        await self._client.command("HSET", keys.ALIASES, alias, reference)

    async def aliases(self) -> Mapping[str, str]:
        flat = await self._client.command("HGETALL", keys.ALIASES)
        texts = [self._unreadable.text("alias", found) for found in flat]
        return {
            alias: reference for alias, reference in zip(texts[::2], texts[1::2], strict=True) if alias and reference
        }

    def _worker(self, beat: bytes, now_ms: int) -> WorkerStatus | None:
        beat_ms, _, status = beat.partition(b" ")
        try:
            return decode_worker(status, self._client.clock() - (now_ms - int(beat_ms)) / 1e3)
        except ValueError as error:
            self._unreadable.skip("heartbeat", error)
            return None

    async def _dead_of(self, model: str) -> list[DeadJob]:
        found = await self._client.run("dead", [prefix(model)])
        return [_dead_job(model, job_id, dict(zip(flat[::2], flat[1::2], strict=True))) for job_id, flat in found]


def _dead_job(model: str, job_id: bytes, fields: Mapping[bytes, bytes]) -> DeadJob:
    """What is no text is shown as far as it is one."""
    texts = {name.decode(errors="replace"): value.decode(errors="replace") for name, value in fields.items()}
    rows, attempts = (
        int(text) if text.isdecimal() else 0 for text in (texts.get("rows", ""), texts.get("attempts", ""))
    )
    operation, tenant, reason = (texts.get(name, "") for name in ("operation", "tenant", "reason"))
    return DeadJob(job_id.decode(errors="replace"), model, operation, tenant, rows, attempts, reason)
