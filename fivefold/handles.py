"""JobHandle and AsyncJobHandle: a job to wait for, to follow, or to cancel, from any process that knows its id."""

import random
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, Generic
from urllib.parse import quote

from fivefold.calls import Call, Reply
from fivefold.errors import FivefoldError, InvalidInput, NotReady, TimedOut
from fivefold.jobs import JobDocument
from fivefold.operation import EVENT_STREAM_TYPE, JSON_TYPE, AnswerT, ChunkT, Operation
from fivefold.parsing import parsed
from fivefold.retries import backoff_s
from fivefold.streaming import AnswerReader, AsyncStream, Stream, read, read_async
from fivefold.transport import AsyncTransport, SyncTransport

JOBS_PATH = "/v1/jobs"


def job_id_of(reply: Reply, call: Call) -> str:
    """The id of a job that was accepted. Raises InvalidInput where the answer itself has come."""
    if "preference-applied" not in reply.headers:
        raise InvalidInput(f"{call.path} answers at once: call it instead of submitting it", request_id=call.id)
    return parsed(JobDocument, reply.content, call.id).id


class Following(Generic[AnswerT, ChunkT]):
    """A job's events over as many connections as it takes. No I/O.

    A connection that brought anything has done its work: the next one begins after the last event, with all retries.
    """

    def __init__(
        self,
        operation: Operation[Any, AnswerT, ChunkT],
        call: Call,
        timeout_s: float | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.reader = AnswerReader(operation, call.id)
        self._call, self._timeout_s, self._clock = call, timeout_s, clock
        self._deadline = None if timeout_s is None else clock() + timeout_s
        self._attempt = 0

    def call(self) -> Call:
        """The next connection. Raises TimedOut."""
        seen = {"last-event-id": self.reader.last_id} if self.reader.last_id else {}
        return replace(self._call, max_retries=0, more_headers=seen, total_s=self._left_s())

    def pause_s(self, error: FivefoldError, uniform: float) -> float:
        """The pause before the next connection. Raises `error` where there is none, TimedOut where time is over."""
        left_s = self._left_s()
        self._attempt = 0 if self.reader.heard else self._attempt + 1
        pause_s = backoff_s(self._attempt, error, uniform)
        if pause_s is None or self._attempt > self._call.max_retries:
            raise error
        self.reader.reconnect()
        return pause_s if left_s is None else min(pause_s, left_s)

    def _left_s(self) -> float | None:
        if self._deadline is None:
            return None
        if (left_s := self._deadline - self._clock()) <= 0:
            message = f"the job has not ended in {self._timeout_s:g} s, and goes on: wait longer, or cancel it"
            raise TimedOut(message, request_id=self._call.id)
        return left_s


@dataclass(frozen=True)
class _Job(Generic[AnswerT, ChunkT]):
    """What the two handles share: what is asked of the service about a job."""

    id: str
    operation: Operation[Any, AnswerT, ChunkT] = field(repr=False)
    max_retries: int = field(repr=False)

    def _call(self, method: str = "GET", accept: str = JSON_TYPE, below: str = "") -> Call:
        path = f"{JOBS_PATH}/{quote(self.id, safe='@')}{below}"
        return Call(method, path, accept, max_retries=self.max_retries)

    def _following(self, timeout_s: float | None) -> Following[AnswerT, ChunkT]:
        return Following(self.operation, self._call("GET", EVENT_STREAM_TYPE, "/events"), timeout_s)

    def _finished(self, reply: Reply, accept: str) -> Reply:
        """Raises NotReady for the state of a job instead of its answer."""
        if accept != JSON_TYPE and reply.headers["content-type"].startswith(JSON_TYPE):
            raise NotReady(f"job {self.id} has not ended: wait for it", retry_after_s=1.0)
        return reply


@dataclass(frozen=True)
class JobHandle(_Job[AnswerT, ChunkT]):
    """A job. It goes on whether or not somebody waits for it."""

    transport: SyncTransport = field(repr=False)

    def status(self) -> JobDocument:
        """How far it is, and once it has ended its result. Raises NotFound once it is forgotten."""
        return self.transport.ask(self._call(), JobDocument)

    def wait(self, timeout: float | None = None) -> AnswerT:
        """The answer, as the synchronous call would give it. Raises what that would raise, and TimedOut."""
        with self._stream(timeout) as stream:
            for _ in stream:
                pass
        return stream.answer

    def events(self) -> Stream[AnswerT, ChunkT]:
        """Every chunk from the first on, over as many connections as it takes, and then the answer."""
        return self._stream(None)

    def raw(self, accept: str) -> Reply:
        """The bytes in one of `operation.answers`. Raises NotReady until the job has ended."""
        return self._finished(self.transport.send(self._call(accept=accept)), accept)

    def cancel(self) -> JobDocument:
        """Its rows leave the device at the next step; what has ended stays as it is."""
        return self.transport.ask(self._call("DELETE"), JobDocument)

    def _stream(self, timeout_s: float | None) -> Stream[AnswerT, ChunkT]:
        following = self._following(timeout_s)
        return Stream(self._chunks(following), following.reader)

    def _chunks(self, following: Following[AnswerT, ChunkT]) -> Generator[ChunkT]:
        while following.reader.answer is None:
            try:
                yield from read(self.transport.stream(following.call()), following.reader)
            except FivefoldError as error:
                self.transport.pause(following.pause_s(error, random.random()))


@dataclass(frozen=True)
class AsyncJobHandle(_Job[AnswerT, ChunkT]):
    """The same, awaited."""

    transport: AsyncTransport = field(repr=False)

    async def status(self) -> JobDocument:
        return await self.transport.ask(self._call(), JobDocument)

    async def wait(self, timeout: float | None = None) -> AnswerT:
        async with self._stream(timeout) as stream:
            async for _ in stream:
                pass
        return stream.answer

    def events(self) -> AsyncStream[AnswerT, ChunkT]:
        return self._stream(None)

    async def raw(self, accept: str) -> Reply:
        return self._finished(await self.transport.send(self._call(accept=accept)), accept)

    async def cancel(self) -> JobDocument:
        return await self.transport.ask(self._call("DELETE"), JobDocument)

    def _stream(self, timeout_s: float | None) -> AsyncStream[AnswerT, ChunkT]:
        following = self._following(timeout_s)
        return AsyncStream(self._chunks(following), following.reader)

    async def _chunks(self, following: Following[AnswerT, ChunkT]) -> AsyncGenerator[ChunkT]:
        while following.reader.answer is None:
            try:
                async with aclosing(read_async(self.transport.stream(following.call()), following.reader)) as chunks:
                    async for chunk in chunks:
                        yield chunk
            except FivefoldError as error:
                await self.transport.pause(following.pause_s(error, random.random()))
