"""What a worker is told while it runs: cancelled jobs and orders, put down as they arrive."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import TypeVar

from service.broker.base import Consumer
from service.workers import ControlMessage

MessageT = TypeVar("MessageT")


class Messages:
    """Cancels and orders that the loop has not read yet."""

    def __init__(self) -> None:
        self._cancelled: deque[str] = deque()
        self._orders: deque[ControlMessage] = deque()

    @asynccontextmanager
    async def listening(self, consumer: Consumer) -> AsyncIterator[None]:
        """Put down what arrives, while inside."""
        listeners = [
            asyncio.create_task(_collect(await consumer.cancelled(), self._cancelled)),
            asyncio.create_task(_collect(await consumer.control(), self._orders)),
        ]
        try:
            yield
        finally:
            for listener in listeners:
                listener.cancel()
            await asyncio.wait(listeners)

    def cancelled(self) -> Iterator[str]:
        """Ids of cancelled jobs, each once."""
        return _drain(self._cancelled)

    def orders(self, worker: str) -> Iterator[ControlMessage]:
        """Orders to this worker, each once."""
        return (order for order in _drain(self._orders) if order.worker in (None, worker))


async def _collect(messages: AsyncIterator[MessageT], into: "deque[MessageT]") -> None:
    async for message in messages:
        into.append(message)


def _drain(messages: "deque[MessageT]") -> Iterator[MessageT]:
    while messages:
        yield messages.popleft()
