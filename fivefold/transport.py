"""Time-outs, attempts, idempotency keys; the only file that touches httpx."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator, Mapping
from contextlib import aclosing, closing, contextmanager
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import uuid4

import httpx

from fivefold.errors import ConnectionFailed, FivefoldError, TimedOut
from fivefold.operation import JSON_TYPE
from fivefold.retries import backoff_s, error_from

ResultT = TypeVar("ResultT")


@dataclass(frozen=True)
class Timeouts:
    """Seconds to connect, of silence while waiting for bytes, and of the whole call with its retries."""

    connect_s: float = 5.0
    read_s: float = 600.0
    total_s: float = 600.0


@dataclass(frozen=True)
class Call:
    """What is sent, the same in every attempt: a repeated POST is the same job, and one id finds all in the log."""

    method: str
    path: str
    accept: str = JSON_TYPE
    content: bytes | None = None
    max_retries: int = 2
    id: str = field(default_factory=lambda: uuid4().hex)

    @property
    def headers(self) -> dict[str, str]:
        headers = {"accept": self.accept, "x-request-id": self.id}
        if self.content is not None:
            headers |= {"content-type": JSON_TYPE, "idempotency-key": self.id}
        return headers


@dataclass(frozen=True)
class Reply:
    """A success: headers by their lower-case names, and the body."""

    headers: Mapping[str, str]
    content: bytes


class Exchange:
    """One call over its attempts: the time that is left, and what a failure means. No I/O of its own."""

    def __init__(self, call: Call, timeouts: Timeouts, clock: Callable[[], float] = time.monotonic) -> None:
        self.call = call
        self._timeouts = timeouts
        self._clock = clock
        self._deadline = clock() + timeouts.total_s
        self._attempt = 0

    def request(self, http: httpx.Client | httpx.AsyncClient) -> httpx.Request:
        """The request of the next attempt. Raises TimedOut when no time is left."""
        left_s = self.check_time()
        connect_s, read_s = min(self._timeouts.connect_s, left_s), min(self._timeouts.read_s, left_s)
        timeout = httpx.Timeout(read_s, connect=connect_s, pool=left_s)
        call = self.call
        return http.build_request(call.method, call.path, content=call.content, headers=call.headers, timeout=timeout)

    def check_time(self) -> float:
        """The seconds left. Raises TimedOut when there are none."""
        left_s = self._deadline - self._clock()
        if left_s <= 0:
            message = f"{self.call.path} is not answered in total_s = {self._timeouts.total_s:g}: raise the time-out"
            raise TimedOut(message, request_id=self.call.id)
        return left_s

    def pause_s(self, error: FivefoldError, uniform: float) -> float:
        """The pause before the next attempt. Raises `error` where there is none."""
        pause_s = backoff_s(self._attempt, error, uniform)
        self._attempt += 1
        if pause_s is None or self._attempt > self.call.max_retries or self._clock() + pause_s >= self._deadline:
            raise error
        return pause_s

    def refusal(self, response: httpx.Response, content: bytes) -> FivefoldError:
        return error_from(response.status_code, response.headers, content, self.call.id)

    @contextmanager
    def reported(self) -> Iterator[None]:
        """Turns httpx's exceptions into ours."""
        try:
            yield
        except httpx.TimeoutException as error:
            message = f"no answer from {error.request.url} within {_seconds(error)} s: raise the time-out"
            raise TimedOut(message, request_id=self.call.id) from error
        except httpx.RequestError as error:
            message = f"no answer from {error.request.url}: {error or type(error).__name__}. Is the service running?"
            raise ConnectionFailed(message, request_id=self.call.id) from error


def _seconds(error: httpx.TimeoutException) -> float:
    kind = type(error).__name__.removesuffix("Timeout").lower()
    return float(error.request.extensions["timeout"][kind])


class SyncTransport:
    """Blocks. `sleep` is what waits between attempts."""

    def __init__(self, base_url: str, timeouts: Timeouts, sleep: Callable[[float], None] = time.sleep) -> None:
        self._http = httpx.Client(base_url=base_url)
        self._timeouts = timeouts
        self._sleep = sleep

    def send(self, call: Call) -> Reply:
        """The whole answer. Raises FivefoldError."""
        exchange = Exchange(call, self._timeouts)
        return self._persist(exchange, lambda: self._whole(exchange))

    def stream(self, call: Call) -> Generator[bytes]:
        """The answer as it comes; sent at the first `next`, never repeated once it has begun. Raises FivefoldError."""
        exchange = Exchange(call, self._timeouts)
        yield from self._parts(exchange, self._persist(exchange, lambda: self._open(exchange)))

    def close(self) -> None:
        self._http.close()

    def _persist(self, exchange: Exchange, attempt: Callable[[], ResultT]) -> ResultT:
        while True:
            try:
                return attempt()
            except FivefoldError as error:
                pause_s = exchange.pause_s(error, random.random())
            self._sleep(pause_s)

    def _whole(self, exchange: Exchange) -> Reply:
        response = self._open(exchange)
        return Reply(response.headers, b"".join(self._parts(exchange, response)))

    def _open(self, exchange: Exchange) -> httpx.Response:
        with exchange.reported():
            response = self._http.send(exchange.request(self._http), stream=True)
        if response.is_success:
            return response
        raise exchange.refusal(response, b"".join(self._parts(exchange, response)))

    def _parts(self, exchange: Exchange, response: httpx.Response) -> Generator[bytes]:
        with closing(response), exchange.reported():
            for part in response.iter_bytes():
                exchange.check_time()
                yield part


class AsyncTransport:
    """The same, awaited."""

    def __init__(
        self, base_url: str, timeouts: Timeouts, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._http = httpx.AsyncClient(base_url=base_url)
        self._timeouts = timeouts
        self._sleep = sleep

    async def send(self, call: Call) -> Reply:
        exchange = Exchange(call, self._timeouts)
        return await self._persist(exchange, lambda: self._whole(exchange))

    async def stream(self, call: Call) -> AsyncGenerator[bytes]:
        exchange = Exchange(call, self._timeouts)
        response = await self._persist(exchange, lambda: self._open(exchange))
        async with aclosing(self._parts(exchange, response)) as parts:
            async for part in parts:
                yield part

    async def close(self) -> None:
        await self._http.aclose()

    async def _persist(self, exchange: Exchange, attempt: Callable[[], Awaitable[ResultT]]) -> ResultT:
        while True:
            try:
                return await attempt()
            except FivefoldError as error:
                pause_s = exchange.pause_s(error, random.random())
            await self._sleep(pause_s)

    async def _whole(self, exchange: Exchange) -> Reply:
        response = await self._open(exchange)
        return Reply(response.headers, b"".join([part async for part in self._parts(exchange, response)]))

    async def _open(self, exchange: Exchange) -> httpx.Response:
        with exchange.reported():
            response = await self._http.send(exchange.request(self._http), stream=True)
        if response.is_success:
            return response
        raise exchange.refusal(response, b"".join([part async for part in self._parts(exchange, response)]))

    async def _parts(self, exchange: Exchange, response: httpx.Response) -> AsyncGenerator[bytes]:
        async with aclosing(response):
            with exchange.reported():
                async for part in response.aiter_bytes():
                    exchange.check_time()
                    yield part
