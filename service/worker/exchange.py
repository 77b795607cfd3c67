"""What a worker and the queue exchange between two steps: results go, jobs come, in one round trip."""

import asyncio
from asyncio import Task
from collections.abc import Awaitable, Callable, Sequence

from service.broker.base import Consumer, Emission
from service.jobs import Events, Lease

# Of the event loop, until calls are on their way: a task, the two calls in it, their connection.
TURNS = 3


class Exchange:
    """One round trip at a time, which a step may overlap.

    What could not be published stays for the next: to publish it twice is harmless.
    """

    def __init__(self, queue: Consumer, lose: Callable[[Sequence[Lease]], None]) -> None:
        self._queue, self._lose = queue, lose
        self._unsent: list[Emission] = []
        self._taken: list[Lease] = []
        self._under_way: Task[None] | None = None

    @property
    def under_way(self) -> bool:
        return self._under_way is not None

    def add(self, lease: Lease, events: Sequence[Events]) -> None:
        """Publish these with the next round trip."""
        self._unsent.append((lease, events))

    def begin(self, take: Awaitable[Sequence[Lease]]) -> None:
        """Publish what there is and take jobs."""
        emissions, self._unsent = self._unsent, []
        self._under_way = asyncio.create_task(self._publish_and_take(emissions, take))

    async def taken(self, *, wait: bool) -> Sequence[Lease]:
        """The jobs that have come: with `wait`, once the round trip is over. Raises QueueAway."""
        if (under_way := self._under_way) is not None:
            for _ in range(TURNS):
                if not under_way.done():
                    await asyncio.sleep(0)
            if wait or under_way.done():
                self._under_way = None
                await under_way
        taken, self._taken = self._taken, []
        return taken

    async def finish(self) -> None:
        """Publish all that is not published yet, where nothing is taken any more. Raises QueueAway."""
        await self.taken(wait=True)
        await self._publish(self._unsent)
        self._unsent = []

    async def _publish_and_take(self, emissions: list[Emission], take: Awaitable[Sequence[Lease]]) -> None:
        published, taken = await asyncio.gather(self._publish(emissions), take, return_exceptions=True)
        if isinstance(published, BaseException):
            self._unsent = emissions + self._unsent
        if not isinstance(taken, BaseException):
            self._taken += taken
        for error in (published, taken):
            if isinstance(error, BaseException):
                raise error

    async def _publish(self, emissions: Sequence[Emission]) -> None:
        if emissions:
            self._lose(await self._queue.emit(emissions))
