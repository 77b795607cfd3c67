"""Waiting for a condition, with a limit: tests do not sleep."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable

PAUSE_SECONDS = 0.01


def until(condition: Callable[[], object], seconds: float = 15.0) -> float:
    """Block until it holds; returns the seconds it took."""
    began, pause = time.monotonic(), threading.Event()
    while not condition():
        assert time.monotonic() - began < seconds, f"waited for {seconds:g} s"
        pause.wait(PAUSE_SECONDS)
    return time.monotonic() - began


async def eventually(condition: Callable[[], Awaitable[object]], seconds: float = 15.0) -> float:
    """Wait until it holds; returns the seconds it took."""
    began = time.monotonic()
    while not await condition():
        assert time.monotonic() - began < seconds, f"waited for {seconds:g} s"
        await asyncio.sleep(PAUSE_SECONDS)
    return time.monotonic() - began
