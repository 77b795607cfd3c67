"""Commands to the queue's server: all of one tick in one round trip, in bounded time, with errors that say why."""

import asyncio
from asyncio import Future, Task
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from hiredis import pack_command
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from service.broker.base import QueueAway

# A client hears of a dead queue within 1.5 s: this is what one round trip may take, connecting included; the rest is
# for the API's look at the workers before it.
ROUND_TRIP_SECONDS = 1.0
# What the server says of a state of its own: a full disk, too few replicas, a primary that is away, a long script.
PASSING = frozenset({"MISCONF", "NOREPLICAS", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY"})

Command = tuple[Any, ...]
Asked = tuple[Command, float, "Future[Any]"]  # with the seconds that it may block


def connect(url: str, **options: Any) -> "Redis":
    """A client that fails at once: a caller that can wait tries again itself."""
    retry = Retry(NoBackoff(), 0)
    limits = {"socket_connect_timeout": 1.0, "socket_timeout": None, "retry": retry, **options}
    client: Redis = Redis.from_url(url, **limits)
    return client


@contextmanager
def translate_errors() -> Iterator[None]:
    """Turns the client library's exceptions into QueueAway."""
    try:
        yield
    except (RedisError, OSError, TimeoutError) as error:
        raise QueueAway(_reason(error)) from error


def _reason(error: Exception) -> str:
    """Raises what is no condition of the server but a mistake of ours."""
    text = str(error)
    if isinstance(error, AuthenticationError) or text.startswith(("NOAUTH", "WRONGPASS", "NOPERM")):
        return "the queue's server refuses the password: check FIVEFOLD_REDIS_URL"
    if isinstance(error, ReadOnlyError) or "READONLY" in text:
        return "the queue's server is a read-only replica: point FIVEFOLD_REDIS_URL at the primary"
    if isinstance(error, OutOfMemoryError) or "OOM" in text[:20]:
        return "the queue's server has no memory left: raise its maxmemory, or come back when it has drained"
    if isinstance(error, ResponseError):
        code = error.status_code or text.split(" ", maxsplit=1)[0]
        if code not in PASSING:
            raise error
        return f"the queue's server cannot serve now ({code}): come back when it can"
    return "the queue's server does not answer: come back when it does"


class PipelinedConnection:
    """One connection of one event loop. Commands of one tick travel together and are answered in order.

    The round trip belongs to the connection, not to the caller: a cancelled one leaves no reply behind for the next.
    `sources` are the scripts by their SHA-1, for a server that has forgotten them.
    """

    def __init__(self, url: str, sources: Mapping[str, bytes]) -> None:
        self._sources = sources
        self._connection = connect(url).connection_pool.make_connection()  # type: ignore[no-untyped-call]
        self._waiting: list[Asked] = []
        self._flusher: Task[None] | None = None

    def ask(self, *command: Any, patience: float = 0.0) -> "Future[Any]":
        """The reply, later; a command that blocks says for how many seconds. Raises QueueAway."""
        future: Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((command, patience, future))
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush())
        return future

    async def close(self) -> None:
        if self._flusher is not None:
            await asyncio.wait([self._flusher])
        await self._connection.disconnect()

    async def _flush(self) -> None:
        await asyncio.sleep(0)  # what is collected in this tick is asked at its end
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                with translate_errors():
                    replies = await self._round_trip(batch)
            except Exception as error:  # callers that came meanwhile have waited too, and for the same server
                batch, self._waiting = batch + self._waiting, []
                replies = [error] * len(batch)
            for (_, _, future), reply in zip(batch, replies, strict=True):
                settle(future, reply)

    async def _round_trip(self, batch: Sequence[Asked]) -> list[Any]:
        commands, patience = [command for command, _, _ in batch], sum(seconds for _, seconds, _ in batch)
        try:
            async with asyncio.timeout(ROUND_TRIP_SECONDS + patience):
                replies = await self._send(commands)
                if missing := [place for place, reply in enumerate(replies) if isinstance(reply, NoScriptError)]:
                    again = await self._load_and_send([commands[place] for place in missing])
                    for place, reply in zip(missing, again, strict=True):
                        replies[place] = reply
                return replies
        except BaseException:  # half a reply may be on its way
            await self._connection.disconnect(nowait=True)
            raise

    async def _load_and_send(self, commands: Sequence[Command]) -> list[Any]:
        """A server that restarted, or was flushed, has forgotten the scripts."""
        missing = {command[1] for command in commands}
        loads: list[Command] = [("SCRIPT", "LOAD", self._sources[sha]) for sha in missing]
        return (await self._send([*loads, *commands]))[len(loads) :]

    async def _send(self, commands: Sequence[Command]) -> list[Any]:
        """On the bare connection: the library's pipeline costs several times what the rest of a call does."""
        await self._connection.send_packed_command(b"".join(map(pack_command, commands)))
        return [await self._reply() for _ in commands]

    async def _reply(self) -> Any:
        try:
            return await self._connection.read_response()
        except ResponseError as error:
            return error


def settle(future: "Future[Any]", reply: Any) -> None:
    """Answer a caller that still waits."""
    if future.done():
        return
    if isinstance(reply, Exception):
        try:
            with translate_errors():
                raise reply
        except Exception as error:
            future.set_exception(error)
    else:
        future.set_result(reply)
