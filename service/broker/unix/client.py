"""The worker's face of a queue that lives in another process of this machine."""

import asyncio
import time
from asyncio import AbstractEventLoop, Future, Queue, StreamWriter, Task
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from service.broker.base import Depth, Emission, QueueAway
from service.broker.codec import decode_job, decode_order, decode_worker, encode_events, encode_worker
from service.broker.unix.messages import Message, encode_message, messages
from service.jobs import FORMATS, Kinds, Lease
from service.workers import ControlMessage, WorkerStatus

ASK_SECONDS = 0.25  # without news
AWAY = "the service's own process does not answer: it has ended, or is about to"


class UnixBroker:
    """Consumer; see service/broker/base.py. Raises QueueAway from every call where the other process is gone.

    A worker that is busy asks for jobs between two steps only where there was one the last time, where it has heard of
    one since, and now and then: a step without news costs no round trip. Connections belong to an event loop: the
    worker's loop and its heartbeat's each have their own. A heartbeat brings the text of the worker's metrics along,
    `exposition`.
    """

    formats = FORMATS

    def __init__(self, path: Path, kinds: Kinds, exposition: Callable[[], bytes]) -> None:
        self._path, self._kinds, self._exposition = path, kinds, exposition
        self._connections: dict[AbstractEventLoop, Connection] = {}
        self._news: Queue[Message] | None = None
        self._found, self._asked_at = True, 0.0

    async def take(self, models: Sequence[str], *, budget: float, wait: float) -> Sequence[Lease]:
        heard = self._read_news()
        overdue = time.monotonic() - self._asked_at > ASK_SECONDS
        if wait <= 0.0 and not (heard or self._found or overdue):
            return []
        self._asked_at = time.monotonic()
        header, frames = await self._call("take", models=models, budget=budget, wait=wait)
        self._found = bool(frames)
        return [
            Lease(decode_job(frame, self._kinds), token, attempt)
            for frame, (token, attempt) in zip(frames, header["leases"], strict=True)
        ]

    async def extend(self, leases: Sequence[Lease]) -> Sequence[Lease]:
        return await self._lost("extend", leases)

    async def release(self, leases: Sequence[Lease]) -> None:
        await self._lost("release", leases)

    async def emit(self, emissions: Sequence[Emission]) -> Sequence[Lease]:
        frames = [encode_events(one) for _, events in emissions for one in events]
        counts = [len(events) for _, events in emissions]
        return await self._lost("emit", [lease for lease, _ in emissions], frames, counts=counts)

    async def cancelled(self) -> AsyncIterator[str]:
        inbox, self._news = await self._listen("cancelled"), await self._listen("arrived")

        async def ids() -> AsyncIterator[str]:
            while True:
                header, _ = await inbox.get()
                yield header["job"]

        return ids()

    async def control(self) -> AsyncIterator[ControlMessage]:
        inbox = await self._listen("control")

        async def orders() -> AsyncIterator[ControlMessage]:
            while True:
                _, (text,) = await inbox.get()
                yield decode_order(text)

        return orders()

    async def heartbeat(self, status: WorkerStatus) -> None:
        await self._call("heartbeat", [encode_worker(status), self._exposition()])

    async def workers(self) -> Sequence[WorkerStatus]:
        header, frames = await self._call("workers")
        return [decode_worker(text, beat_at) for text, beat_at in zip(frames, header["beats"], strict=True)]

    async def depth(self, model: str) -> Depth:
        header, _ = await self._call("depth", model=model)
        return Depth(**header["depth"])

    async def close(self) -> None:
        if (connection := self._connections.pop(asyncio.get_running_loop(), None)) is not None:
            await connection.close()

    def _read_news(self) -> bool:
        """True where jobs may have come since the last look, and where nothing tells of them."""
        if self._news is None:
            return True
        heard = not self._news.empty()
        while not self._news.empty():
            self._news.get_nowait()
        return heard

    async def _lost(
        self, call: str, leases: Sequence[Lease], frames: Sequence[bytes] = (), **arguments: Any
    ) -> Sequence[Lease]:
        """Those of the leases that the other side does not know, or not any more."""
        named = [(lease.job.id, lease.token) for lease in leases]
        header, _ = await self._call(call, frames, leases=named, **arguments)
        return [leases[place] for place in header["lost"]]

    async def _call(self, call: str, frames: Sequence[bytes] = (), **arguments: Any) -> Message:
        return await (await self._connection()).ask({"call": call, **arguments}, frames)

    async def _listen(self, topic: str) -> "Queue[Message]":
        return await (await self._connection()).listen(topic)

    async def _connection(self) -> "Connection":
        loop = asyncio.get_running_loop()
        if (there := self._connections.get(loop)) is None or there.lost:
            self._connections[loop] = there = await Connection.open(self._path)
        return there


class Connection:
    """Calls and their replies by number; what is not asked for goes to the topics' inboxes."""

    def __init__(self, writer: StreamWriter) -> None:
        self.lost = False
        self._writer, self._numbers = writer, count()
        self._waiting: dict[int, Future[Message]] = {}
        self._inboxes: dict[str, Queue[Message]] = {}
        self._reading: Task[None] | None = None

    @classmethod
    async def open(cls, path: Path) -> "Connection":
        """Raises QueueAway."""
        try:
            reader, writer = await asyncio.open_unix_connection(path)
        except OSError as error:
            raise QueueAway(AWAY) from error
        connection = cls(writer)
        connection._reading = asyncio.create_task(connection._read(messages(reader)))
        return connection

    async def ask(self, header: Mapping[str, Any], frames: Sequence[bytes]) -> Message:
        """Raises QueueAway."""
        if self.lost:
            raise QueueAway(AWAY)
        number = next(self._numbers)
        future: Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        self._writer.write(encode_message({**header, "number": number}, frames))
        return await future

    async def listen(self, topic: str) -> "Queue[Message]":
        """What is said on the topic from now on."""
        inbox = self._inboxes[topic] = Queue()
        await self.ask({"call": "listen", "topic": topic}, ())
        return inbox

    async def close(self) -> None:
        self._writer.close()
        if self._reading is not None:
            await self._reading

    async def _read(self, heard: AsyncIterator[Message]) -> None:
        async for header, frames in heard:
            if "topic" in header:
                self._inboxes[header["topic"]].put_nowait((header, frames))
            elif not (future := self._waiting.pop(header["number"])).done():
                future.set_result((header, frames))
        self.lost = True
        self._writer.close()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(QueueAway(AWAY))
