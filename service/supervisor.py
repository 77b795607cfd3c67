"""The worker's process beside the API's: started with it, started again where it ends, stopped after it."""

import asyncio
import os
import sys
from asyncio import Task
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

import structlog

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.2, 5.0
STEADY_SECONDS = 30.0  # a worker that ran for as long did not fail at its start
log = structlog.get_logger()


class WorkerProcess:
    """Runs `python *command` while inside, with the way to its queue in `environment`.

    An engine that crashes takes no request along: the API lives on, and another process runs what was lost. The worker
    hears of this process's end by its standard input.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], grace_seconds: float) -> None:
        self.command, self.environment, self.grace_seconds = command, environment, grace_seconds
        self._process: Process | None = None
        self._watching: Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._start()
        self._watching = asyncio.create_task(self._watch())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._watching is not None
        self._watching.cancel()
        await asyncio.wait([self._watching])
        await self._stop()

    async def _start(self) -> None:
        environment = {**os.environ, **self.environment}
        # A session of its own: Ctrl-C is for this process, which ends the worker once its requests are answered.
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, *self.command, env=environment, stdin=PIPE, start_new_session=True
        )

    async def _watch(self) -> None:
        pause_seconds, now = FIRST_PAUSE_SECONDS, asyncio.get_running_loop().time
        while True:
            assert self._process is not None
            started = now()
            code = await self._process.wait()
            steady = now() - started > STEADY_SECONDS
            pause_seconds = FIRST_PAUSE_SECONDS if steady else min(2 * pause_seconds, LONGEST_PAUSE_SECONDS)
            log.error("worker_ended", exit_code=code, restart_in_seconds=pause_seconds)
            await asyncio.sleep(pause_seconds)
            await self._start()

    async def _stop(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), self.grace_seconds)
        except TimeoutError:
            process.kill()
            await process.wait()
