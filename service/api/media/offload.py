"""Long work runs in a thread, so that the event loop stays free."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

ResultT = TypeVar("ResultT")
LARGE_BYTES, MANY_ROWS = 32_768, 8  # what is larger takes so long that the event loop must not wait for it


async def run(work: Callable[[], ResultT], *, large: bool) -> ResultT:
    """The result of `work`, which runs in a thread where it is large."""
    return await asyncio.to_thread(work) if large else work()
