"""What takes long goes to a thread, so that the event loop stays free."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

ResultT = TypeVar("ResultT")
LARGE_BYTES, MANY_ROWS = 32_768, 8  # what takes so long that the event loop must not wait for it


async def aside(work: Callable[[], ResultT], *, large: bool) -> ResultT:
    """The result of `work`; what takes long goes to a thread, so that the event loop stays free."""
    return await asyncio.to_thread(work) if large else work()
