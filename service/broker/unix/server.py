"""Serves the worker's face of an in-process queue to worker processes of this machine."""

import asyncio
from asyncio import StreamReader, StreamWriter, Task
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import structlog

from service.broker.codec import decode_events, decode_worker, encode_job, encode_order, encode_worker
from service.broker.memory import MemoryBroker
from service.broker.unix.messages import Message, encode_message, messages
from service.jobs import Lease

Reply = tuple[dict[str, Any], list[bytes]]
log = structlog.get_logger()


class BrokerServer:
    """Answers on the Unix socket `path` while inside. Raises OSError where it cannot listen there.

    What a worker held when its connection ended is redelivered at once: nothing waits for its leases to run out.
    """

    def __init__(self, broker: MemoryBroker, path: Path) -> None:
        self.broker, self.path = broker, path
        self._leases: dict[tuple[str, int], Lease] = {}
        self._exposition = b""
        self._connections: dict[StreamWriter, Task[None]] = {}

    def exposition(self) -> bytes:
        """The text of the worker's metrics, as its last heartbeat had it."""
        return self._exposition

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._serve, self.path)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for writer in self._connections:
            writer.close()
        if self._connections:
            await asyncio.wait(list(self._connections.values()))

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        peer = _Peer(self.broker, self._leases, writer, partial(setattr, self, "_exposition"))
        serving = asyncio.current_task()
        assert serving is not None
        self._connections[writer] = serving
        try:
            async for message in messages(reader):
                await peer.answer(message)
        except Exception:
            log.exception("worker_connection_failed")
        finally:
            writer.close()
            peer.leave()
            del self._connections[writer]


class _Peer:
    """One connection of a worker."""

    def __init__(
        self,
        broker: MemoryBroker,
        leases: dict[tuple[str, int], Lease],
        writer: StreamWriter,
        note: Callable[[bytes], None],
    ) -> None:
        self._broker, self._leases, self._writer, self._note = broker, leases, writer, note
        self._taken: set[tuple[str, int]] = set()
        self._tasks: set[Task[None]] = set()
        self._calls: Mapping[str, Callable[..., Coroutine[Any, Any, Reply]]] = {
            "take": self._take,
            "emit": self._emit,
            "extend": self._extend,
            "release": self._release,
            "heartbeat": self._heartbeat,
            "workers": self._workers,
            "depth": self._depth,
            "listen": self._listen,
        }

    async def answer(self, message: Message) -> None:
        """Calls are answered in order, but for those that wait."""
        header, frames = message
        call = self._calls[header.pop("call")]
        answering = self._reply(header.pop("number"), call(frames, **header))
        if header.get("wait"):
            self._start(answering)
        else:
            await answering

    def leave(self) -> None:
        """The worker is gone."""
        for task in self._tasks:
            task.cancel()
        self._broker.lapse([lease for key in self._taken if (lease := self._leases.pop(key, None))])

    async def _reply(self, number: int, answer: Coroutine[Any, Any, Reply]) -> None:
        header, frames = await answer
        self._writer.write(encode_message({**header, "number": number}, frames))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _take(self, frames: Sequence[bytes], models: list[str], budget: float, wait: float) -> Reply:
        leases = await self._broker.take(models, budget=budget, wait=wait)
        for lease in leases:
            key = lease.job.id, lease.token
            self._leases[key] = lease
            self._taken.add(key)
        header = {"leases": [(lease.token, lease.attempt) for lease in leases]}
        return header, [encode_job(lease.job) for lease in leases]

    async def _emit(self, frames: Sequence[bytes], leases: list[list[Any]], counts: list[int]) -> Reply:
        events = iter([decode_events(frame) for frame in frames])
        own = [list(islice(events, size)) for size in counts]
        known = [self._leases.get((job_id, token)) for job_id, token in leases]
        emissions = [(lease, part) for lease, part in zip(known, own, strict=True) if lease is not None]
        reply = self._lost(leases, await self._broker.emit(emissions))
        for lease, _ in emissions:
            if not self._broker.holds(lease):
                self._forget(lease)
        return reply, []

    async def _extend(self, frames: Sequence[bytes], leases: list[list[Any]]) -> Reply:
        lost = await self._broker.extend(self._known(leases))
        return self._lost(leases, lost), []

    async def _release(self, frames: Sequence[bytes], leases: list[list[Any]]) -> Reply:
        known = self._known(leases)
        await self._broker.release(known)
        for lease in known:
            self._forget(lease)
        return {"lost": []}, []

    async def _heartbeat(self, frames: Sequence[bytes]) -> Reply:
        await self._broker.heartbeat(decode_worker(frames[0], 0.0))
        self._note(frames[1])
        return {}, []

    async def _workers(self, frames: Sequence[bytes]) -> Reply:
        workers = await self._broker.workers()
        return {"beats": [worker.beat_at for worker in workers]}, [encode_worker(worker) for worker in workers]

    async def _depth(self, frames: Sequence[bytes], model: str) -> Reply:
        return {"depth": asdict(await self._broker.depth(model))}, []

    async def _listen(self, frames: Sequence[bytes], topic: str) -> Reply:
        if topic == "cancelled":
            self._start(self._tell(topic, await self._broker.cancelled(), lambda job_id: ({"job": job_id}, [])))
        elif topic == "arrived":
            self._start(self._tell(topic, await self._broker.arrived(), lambda _: ({}, [])))
        else:
            self._start(self._tell(topic, await self._broker.control(), lambda order: ({}, [encode_order(order)])))
        return {}, []

    async def _tell(self, topic: str, said: AsyncIterator[Any], encode: Callable[[Any], Reply]) -> None:
        async for one in said:
            header, frames = encode(one)
            self._writer.write(encode_message({**header, "topic": topic}, frames))

    def _known(self, named: Sequence[Sequence[Any]]) -> list[Lease]:
        return [lease for job_id, token in named if (lease := self._leases.get((job_id, token)))]

    def _lost(self, named: Sequence[Sequence[Any]], lost: Sequence[Lease]) -> dict[str, Any]:
        """Places in `named` of the leases that are lost, or not known any more."""
        for lease in lost:
            self._forget(lease)
        return {"lost": [place for place, (job_id, token) in enumerate(named) if (job_id, token) not in self._leases]}

    def _forget(self, lease: Lease) -> None:
        key = lease.job.id, lease.token
        self._leases.pop(key, None)
        self._taken.discard(key)
