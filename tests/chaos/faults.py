"""Faults that a process carries in itself; each function arms one."""

import asyncio
import os
import signal
import time
from collections.abc import Sequence
from typing import Any


def clock_an_hour_ahead() -> None:
    """Must come before anything has taken time.time for its own."""
    true = time.time
    time.time = lambda: true() + 3600.0


def clock_an_hour_behind() -> None:
    true = time.time
    time.time = lambda: true() - 3600.0


def die_before_the_result_is_sent() -> None:
    from service.broker.redis.consumer import RedisConsumer

    async def emit(self: RedisConsumer, emissions: Sequence[Any]) -> None:
        _die()

    RedisConsumer.emit = emit  # type: ignore[method-assign, assignment]


def die_before_the_result_is_acknowledged() -> None:
    from service.broker.redis.consumer import RedisConsumer

    true = RedisConsumer.emit

    async def emit(self: RedisConsumer, emissions: Sequence[Any]) -> None:
        await true(self, emissions)
        _die()

    RedisConsumer.emit = emit  # type: ignore[method-assign, assignment]


def loop_dies_on_sigusr1() -> None:
    """The loop's task ends as by a bug of ours; its process stays, as in `python -m service all`."""
    from service import __main__ as service

    true = service._until_told

    async def until_told(worker: Any) -> None:
        task = asyncio.ensure_future(true(worker))
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, task.cancel)
        await asyncio.wait([task])
        await asyncio.get_running_loop().create_future()

    service._until_told = until_told


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
