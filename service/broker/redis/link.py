"""What the three faces share: a wire for each event loop, and scripts called with the queue's limits."""

import asyncio
import secrets
import time
from asyncio import AbstractEventLoop
from collections.abc import Callable, Sequence
from typing import Any

import orjson
from redis.asyncio import Redis

from service.broker.base import Limits
from service.broker.redis.wire import Wire, connect

# A stream or a subscription gives a sign of life every second; without one its connection is given up.
LISTENING_SECONDS = 3.0


class Link:
    """Connections belong to an event loop: the worker's loop and its heartbeat's each have their own.

    `clock` replaces the server's time, and this machine's, in tests.
    """

    def __init__(self, url: str, limits: Limits | None = None, clock: Callable[[], float] | None = None) -> None:
        self.id = secrets.token_hex(8)
        self.limits = limits or Limits()
        self.clock = clock or time.time
        self._url, self._fake_clock = url, clock
        self._wires: dict[tuple[AbstractEventLoop, str], Wire] = {}
        self._clients: dict[AbstractEventLoop, Redis] = {}
        self._limits = orjson.dumps(self._limits_of_scripts())

    @property
    def wire(self) -> Wire:
        return self._wire("calls")

    @property
    def turning(self) -> Wire:
        """The worker's turn, which may block until there is work: nothing else shares its connection."""
        return self._wire("turns")

    @property
    def listener(self) -> "Redis":
        """A client for what waits long: subscriptions and streams."""
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            self._clients[loop] = connect(self._url, socket_timeout=LISTENING_SECONDS)
        return self._clients[loop]

    async def run(self, script: str, keys: Sequence[str], *arguments: Any, wire: Wire | None = None) -> Any:
        """Raises QueueAway."""
        limits = self._limits if self._fake_clock is None else orjson.dumps(self._limits_of_scripts())
        return await (wire or self.wire).script(script, keys, limits, *arguments)

    async def close(self) -> None:
        loop = asyncio.get_running_loop()
        for key in [key for key in self._wires if key[0] is loop]:
            await self._wires.pop(key).close()
        if (client := self._clients.pop(loop, None)) is not None:
            await client.aclose()

    def _wire(self, use: str) -> Wire:
        key = asyncio.get_running_loop(), use
        if key not in self._wires:
            self._wires[key] = Wire(self._url)
        return self._wires[key]

    def _limits_of_scripts(self) -> dict[str, float]:
        limits = self.limits
        named: dict[str, float] = {
            "max_queue_seconds": limits.max_queue_seconds,
            "max_queued_jobs": limits.max_queued_jobs,
            "lease_ms": round(limits.lease_seconds * 1e3),
            "max_attempts": limits.max_attempts,
            "result_ttl_ms": round(limits.result_ttl_seconds * 1e3),
            "max_kept_jobs": limits.max_kept_jobs,
            "max_kept_bytes": limits.max_kept_bytes,
            "max_dead_jobs": limits.max_dead_jobs,
        }
        return named if self._fake_clock is None else named | {"now_ms": round(self._fake_clock() * 1e3)}
