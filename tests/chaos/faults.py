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


def next_build() -> None:
    """A later version: it reads format 2 too, and whatever it sends has fields and groups that this one does not know.

    It still writes format 1 as long as a worker reads that.
    """
    from service import jobs

    jobs.FORMATS = (1, 2)
    import numpy as np
    import orjson

    from service.broker import codec
    from service.broker.redis import admin, enqueuing, scripts

    seal, line, names, fields_of = codec._seal, codec._line, scripts._names, scripts.fields_of

    def seal_more(number: int, header: dict[str, Any], groups: Sequence[Any]) -> bytes:
        return seal(number, _widen(orjson.loads(orjson.dumps(header))), (*groups, {"later": np.arange(3)}))

    codec._seal = seal_more
    codec._line = lambda message: orjson.dumps(_widen(orjson.loads(line(message))))
    scripts._names = lambda: names() + "FIELDS[#FIELDS + 1] = 'later'\n"
    enqueuing.fields_of = admin.fields_of = lambda job, limits: [*fields_of(job, limits), "x"]


def next_build_that_writes_format_2() -> None:
    """Whatever the model's workers read."""
    next_build()
    from service.api.execution.catalogue import Served

    Served.format = 2


def _widen(found: Any, name: str = "") -> Any:
    """Every object of a message with a field more; the table of costs is none."""
    if isinstance(found, list):
        return [_widen(one) for one in found]
    if not isinstance(found, dict):
        return found
    own = {key: _widen(one, key) for key, one in found.items()}
    return own if name == "costs" else {**own, "later": {"words": ["x", 2.5, None]}}


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
