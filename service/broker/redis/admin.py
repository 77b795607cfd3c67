"""The operator's face: workers, dead letters, orders, aliases."""

import asyncio
from collections.abc import Mapping, Sequence
from itertools import chain

from fivefold.errors import NotFound
from service.arrays import CorruptFrame
from service.broker.base import ControlMessage, DeadJob, WorkerStatus
from service.broker.redis import keys
from service.broker.redis.codec import decode_job, decode_worker, encode_order
from service.broker.redis.keys import prefix, prefix_of
from service.broker.redis.producer import RedisProducer
from service.jobs import Job


class RedisAdmin(RedisProducer):
    """Admin; see service/broker/base.py."""

    async def workers(self) -> Sequence[WorkerStatus]:
        now_ms, *flat = await self.run("workers", [keys.WORKERS])
        now, beats = self.clock(), [text.split(b" ", 1) for text in flat[1::2]]
        return [decode_worker(status, now - (int(now_ms) - int(beat_ms)) / 1e3) for beat_ms, status in beats]

    async def dead(self) -> Sequence[DeadJob]:
        models = await self.wire.call("SMEMBERS", keys.MODELS)
        by_model = await asyncio.gather(*(self._dead_of(prefix(model.decode())) for model in models))
        return list(chain.from_iterable(by_model))

    async def replay(self, job_id: str) -> None:
        if (job := await self._buried(job_id)) is None or not await self._replay(job):
            raise NotFound(f"there is no dead job {job_id}")

    async def send(self, message: ControlMessage) -> None:
        text = encode_order(message)
        await self.wire.call("XADD", keys.CONTROL, "MAXLEN", "~", keys.CONTROL_MESSAGES, "*", "order", text)

    async def set_alias(self, alias: str, reference: str) -> None:
        await self.wire.call("HSET", keys.ALIASES, alias, reference)

    async def aliases(self) -> Mapping[str, str]:
        flat = await self.wire.call("HGETALL", keys.ALIASES)
        return {alias.decode(): reference.decode() for alias, reference in flat.items()}

    async def _dead_of(self, where: str) -> list[DeadJob]:
        reasons = await self.wire.call("HGETALL", f"{where}reasons")
        texts = [text.decode().split(" ", 1) for text in reasons.values()]
        jobs = await asyncio.gather(*(self._buried(job_id.decode()) for job_id in reasons))
        pairs = zip(jobs, texts, strict=True)
        return [DeadJob(job, int(attempts), reason) for job, (attempts, reason) in pairs if job is not None]

    async def _buried(self, job_id: str) -> Job | None:
        payload = await self.wire.call("GET", f"{prefix_of(job_id)}payload:{job_id}")
        try:
            return decode_job(payload) if payload else None
        except CorruptFrame:
            return None

    async def _replay(self, job: Job) -> bool:
        fields = chain.from_iterable(self.fields_of(job).items())
        return bool(await self.run("replay", [prefix(str(job.model))], job.id, *fields))
