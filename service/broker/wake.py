"""Wake-ups across event loops: one call per loop and round, however many futures wait."""

import asyncio
from asyncio import AbstractEventLoop, Future
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from threading import Lock
from typing import Generic, TypeVar

MessageT = TypeVar("MessageT")


class Doorbell:
    """Resolves futures of any event loop, from any thread."""

    def __init__(self, lock: Lock) -> None:
        self._lock = lock
        self._pending: dict[AbstractEventLoop, list[Future[None]]] = {}

    def ring(self, futures: Iterable["Future[None]"]) -> None:
        """Resolve these futures soon. The caller holds the lock."""
        for future in futures:
            loop = future.get_loop()
            if loop in self._pending:
                self._pending[loop].append(future)
            else:
                # A loop that is closed has nobody left who waits.
                with suppress(RuntimeError):
                    loop.call_soon_threadsafe(self._resolve, loop)
                    self._pending[loop] = [future]

    def _resolve(self, loop: AbstractEventLoop) -> None:
        with self._lock:
            futures = self._pending.pop(loop)
        for future in futures:
            resolve(future)


def resolve(future: "Future[None]") -> None:
    """Wake whoever waits; a future that was cancelled or has fired stays as it is."""
    if not future.done():
        future.set_result(None)


async def until(future: "Future[None]", seconds: float) -> None:
    """Wait for the future, but no longer than this."""
    timer = future.get_loop().call_later(seconds, resolve, future)
    try:
        await future
    finally:
        timer.cancel()


class Topic(Generic[MessageT]):
    """Messages to everybody who listens at the time."""

    def __init__(self, lock: Lock, bell: Doorbell) -> None:
        self._lock, self._bell = lock, bell
        self._inboxes: list[tuple[deque[MessageT], list[Future[None]]]] = []

    def send(self, message: MessageT) -> None:
        """The caller holds the lock."""
        for inbox, waiters in self._inboxes:
            inbox.append(message)
            self._bell.ring(waiters)
            waiters.clear()

    def listen(self) -> AsyncIterator[MessageT]:
        """Every message from now on."""
        inbox: deque[MessageT] = deque()
        waiters: list[Future[None]] = []
        with self._lock:
            self._inboxes.append((inbox, waiters))
        return self._messages(inbox, waiters)

    async def _messages(self, inbox: deque[MessageT], waiters: "list[Future[None]]") -> AsyncIterator[MessageT]:
        try:
            while True:
                with self._lock:
                    if not inbox:
                        waiters.append(future := asyncio.get_running_loop().create_future())
                if not inbox:
                    await future
                yield inbox.popleft()
        finally:
            with self._lock:
                self._inboxes = [pair for pair in self._inboxes if pair[0] is not inbox]
