"""Time-outs, attempts, connections; the only file that touches httpx."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator, Mapping
from contextlib import aclosing, closing, contextmanager
from typing import TypeVar

import httpx

from fivefold.calls import Call, Exchange, Reply, Timeouts
from fivefold.errors import ConnectionFailed, FivefoldError, TimedOut
from fivefold.retries import error_from

ResultT = TypeVar("ResultT")


def _request(http: httpx.Client | httpx.AsyncClient, exchange: Exchange) -> httpx.Request:
    call, left = exchange.call, exchange.left()
    timeout = httpx.Timeout(left.read_s, connect=left.connect_s, pool=left.total_s)
    return http.build_request(call.method, call.path, content=call.content, headers=call.headers, timeout=timeout)


def _refusal(call: Call, response: httpx.Response, content: bytes) -> FivefoldError:
    return error_from(response.status_code, response.headers, content, call.id)


@contextmanager
def _reported(call: Call) -> Iterator[None]:
    """Turns httpx's exceptions into ours."""
    try:
        yield
    except httpx.TimeoutException as error:
        message = f"no answer from {error.request.url} within {_seconds(error):g} s: raise the time-out"
        raise TimedOut(message, request_id=call.id) from error
    except httpx.RequestError as error:
        message = f"no answer from {error.request.url}: {error or type(error).__name__}. Is the service running?"
        raise ConnectionFailed(message, request_id=call.id) from error


def _seconds(error: httpx.TimeoutException) -> float:
    kind = type(error).__name__.removesuffix("Timeout").lower()
    return float(error.request.extensions["timeout"][kind])


class SyncTransport:
    """Blocks. `headers` go with every call, `sleep` is what waits between attempts."""

    def __init__(
        self,
        base_url: str,
        headers: Mapping[str, str],
        timeouts: Timeouts,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._http = httpx.Client(base_url=base_url, headers=headers)
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
        with _reported(exchange.call):
            response = self._http.send(_request(self._http, exchange), stream=True)
        if response.is_success:
            return response
        raise _refusal(exchange.call, response, b"".join(self._parts(exchange, response)))

    def _parts(self, exchange: Exchange, response: httpx.Response) -> Generator[bytes]:
        with closing(response), _reported(exchange.call):
            for part in response.iter_bytes():
                exchange.left()
                yield part


class AsyncTransport:
    """The same, awaited."""

    def __init__(
        self,
        base_url: str,
        headers: Mapping[str, str],
        timeouts: Timeouts,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._http = httpx.AsyncClient(base_url=base_url, headers=headers)
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
        with _reported(exchange.call):
            response = await self._http.send(_request(self._http, exchange), stream=True)
        if response.is_success:
            return response
        raise _refusal(exchange.call, response, b"".join([part async for part in self._parts(exchange, response)]))

    async def _parts(self, exchange: Exchange, response: httpx.Response) -> AsyncGenerator[bytes]:
        async with aclosing(response):
            with _reported(exchange.call):
                async for part in response.aiter_bytes():
                    exchange.left()
                    yield part
