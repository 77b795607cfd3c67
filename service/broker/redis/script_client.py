"""What the three faces share: connections for each event loop, and scripts called with the queue's limits."""

import asyncio
import secrets
import time
from asyncio import AbstractEventLoop, Future
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from redis.asyncio import Redis

from service.broker.base import Limits
from service.broker.redis import keys
from service.broker.redis.pipelined_connection import PipelinedConnection, connect
from service.broker.redis.replies import Replies
from service.broker.redis.scripts import pack_numbers, sha, sources

# A stream or a subscription gives a sign of life every second; without one its connection is given up.
LISTENING_SECONDS = 3.0


class LoopConnections:
    """What belongs to one event loop: the worker's loop and its heartbeat's each have their own."""

    def __init__(self, url: str, reply_channel: str) -> None:
        self._url, self._reply_channel = url, reply_channel
        self.calls = PipelinedConnection(url, sources())
        self.turns = PipelinedConnection(url, sources())
        """The worker's turn, which may block until there is work: nothing else shares its connection."""

    @cached_property
    def listener(self) -> "Redis":
        """A client for what waits long: subscriptions and streams."""
        return connect(self._url, socket_timeout=LISTENING_SECONDS)

    @cached_property
    def replies(self) -> Replies:
        return Replies(self.listener, self._reply_channel)

    async def close(self) -> None:
        if "replies" in vars(self):
            await self.replies.stop()
        if "listener" in vars(self):
            await self.listener.aclose()
        await self.calls.close()
        await self.turns.close()


class ScriptClient:
    """Runs scripts from any event loop. `clock` replaces the server's time, and this machine's, in tests.

    `id` names this process among those that hear replies.
    """

    def __init__(self, url: str, limits: Limits, clock: Callable[[], float] | None) -> None:
        self.id = secrets.token_hex(8)
        self.limits, self.clock = limits, clock or time.time
        self._url, self._fake_clock = url, clock
        self._connections: dict[AbstractEventLoop, LoopConnections] = {}
        self._numbers = pack_numbers(limits, None)

    @property
    def here(self) -> LoopConnections:
        """The connections of the running event loop."""
        loop = asyncio.get_running_loop()
        if loop not in self._connections:
            self._connections[loop] = LoopConnections(self._url, f"{keys.REPLY}{self.id}")
        return self._connections[loop]

    def ask(self, script: str, where: Sequence[str | bytes], *arguments: Any) -> "Future[Any]":
        """A script on these keys; its answer, later. Raises QueueAway."""
        return self._ask(self.here.calls, script, where, arguments)

    async def run(self, script: str, where: Sequence[str | bytes], *arguments: Any) -> Any:
        """The same, awaited."""
        return await self._ask(self.here.calls, script, where, arguments)

    async def run_turn(self, script: str, where: Sequence[str], *arguments: Any) -> Any:
        """A script on the connection of the worker's turn. Raises QueueAway."""
        return await self._ask(self.here.turns, script, where, arguments)

    async def command(self, name: str, key: str, *arguments: Any) -> Any:
        """One command on a key, whatever type it has by now. Raises QueueAway."""
        return await self.run("command", [key], name, *arguments)

    async def close(self) -> None:
        """Let the connections of this event loop go."""
        connections = self._connections.pop(asyncio.get_running_loop(), None)
        if connections is not None:
            await connections.close()

    def _ask(
        self, connection: PipelinedConnection, script: str, where: Sequence[str | bytes], arguments: Sequence[Any]
    ) -> "Future[Any]":
        numbers = self._numbers if self._fake_clock is None else pack_numbers(self.limits, self._fake_clock())
        return connection.ask("EVALSHA", sha(script), len(where), *where, numbers, *arguments)
