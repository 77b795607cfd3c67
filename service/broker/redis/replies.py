"""What an API replica hears from the workers: one subscription, and each reader's place in the events of a job."""

import asyncio
import struct
from asyncio import Future, Task
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress

from redis.asyncio import Redis
from redis.exceptions import RedisError

from service.broker.wake import resolve, until

# A reader that has heard nothing for so long asks: what a lost connection swallowed is found by then.
REREAD_SECONDS = 0.5
SILENCE_SECONDS = 1.0  # a subscription that hears nothing asks for a sign of life, and is given up without one
RESUBSCRIBE_SECONDS = 0.1
_FIELD = struct.Struct(">I")
HELD_FRAMES, HELD_BYTES = 256, 8 * 2**20  # of a slow reader; what is beyond them waits in the queue


class Inbox:
    """One reader's place. `stale`: there may be events that only the queue has."""

    def __init__(self, *, stale: bool) -> None:
        self.stale, self.ended = stale, False
        self._next = self._held_bytes = 0
        self._frames: deque[bytes] = deque()
        self._waiter: Future[None] | None = None

    @property
    def position(self) -> int:
        """How many events have arrived here."""
        return self._next

    @property
    def read(self) -> bool:
        """True where the job has ended and nothing of it is left to read."""
        return self.ended and not self.stale and not self._frames

    def offer(self, start: int, state: bytes, frames: Sequence[bytes]) -> None:
        """Events from `start` on, as they were published or read; what came before is dropped."""
        gap = start > self._next or len(self._frames) > HELD_FRAMES or self._held_bytes > HELD_BYTES
        if not gap:
            fresh = frames[self._next - start :]
            self._frames.extend(fresh)
            self._held_bytes += sum(map(len, fresh))
            self._next += len(fresh)
        self.stale = self.stale or gap
        self.ended = self.ended or (state not in (b"queued", b"running") and not gap)
        self.wake()

    def take(self) -> bytes | None:
        if not self._frames:
            return None
        frame = self._frames.popleft()
        self._held_bytes -= len(frame)
        return frame

    def wake(self) -> None:
        if self._waiter is not None:
            resolve(self._waiter)

    async def wait(self) -> None:
        """Until something is new; after a while without, the queue is asked."""
        self._waiter = asyncio.get_running_loop().create_future()
        before = self._next, self.ended
        await until(self._waiter, REREAD_SECONDS)
        self.stale = self.stale or before == (self._next, self.ended)


class Replies:
    """Keeps a replica's subscription alive, and hands what it hears to the inboxes."""

    def __init__(self, client: "Redis", channel: str) -> None:
        self._client, self._channel = client, channel
        self._inboxes: defaultdict[str, list[Inbox]] = defaultdict(list)
        self._submitted: dict[str, Inbox] = {}
        self._subscribed = asyncio.Event()
        self._listener: Task[None] = asyncio.create_task(self._listen())

    def expect(self, job_id: str) -> None:
        """Open the inbox of a job before it is submitted: its answer may come before that of submitting it."""
        self._submitted[job_id] = self._open(job_id, stale=not self._subscribed.is_set())

    def forget(self, job_id: str) -> None:
        """It will not be read."""
        if (inbox := self._submitted.pop(job_id, None)) is not None:
            self.close(job_id, inbox)

    def reader(self, job_id: str) -> Inbox:
        """The inbox of a job that was submitted here, or a new one that has to be filled from the queue."""
        return self._submitted.pop(job_id, None) or self._open(job_id, stale=True)

    def close(self, job_id: str, inbox: Inbox) -> None:
        self._inboxes[job_id].remove(inbox)
        if not self._inboxes[job_id]:
            del self._inboxes[job_id]

    async def stop(self) -> None:
        while not self._listener.done():  # the client library may swallow a cancel while it connects
            self._listener.cancel()
            await asyncio.wait([self._listener], timeout=0.1)
        await self._client.aclose()

    def _open(self, job_id: str, *, stale: bool) -> Inbox:
        inbox = Inbox(stale=stale)
        self._inboxes[job_id].append(inbox)
        return inbox

    async def _listen(self) -> None:
        async for message in subscribed_messages(self._client, self._channel):
            if message is None:
                self._subscribed.set()
                self._doubt()
            else:
                self._deliver(message[1])

    def _deliver(self, message: bytes) -> None:
        """What is no message of ours may have been one in part: every reader asks."""
        try:
            parts = list(_parts(message))
        except (ValueError, struct.error):
            self._doubt()
            return
        for job_id, start, state, frames in parts:
            for inbox in self._inboxes.get(job_id, ()):
                inbox.offer(start, state, frames)

    def _doubt(self) -> None:
        for inbox in [inbox for inboxes in self._inboxes.values() for inbox in inboxes]:
            inbox.stale = True
            inbox.wake()


def _parts(message: bytes) -> Iterator[tuple[str, int, bytes, list[bytes]]]:
    """Of each job in it: id, place of the first frame, state, frames. Raises ValueError."""
    fields = list(_fields(message))
    at = 0
    while at < len(fields):
        job_id, start, state, count = fields[at : at + 4]
        at += 4 + int(count)
        yield job_id.decode(), int(start), state, fields[at - int(count) : at]


def _fields(message: bytes) -> Iterator[bytes]:
    """The length-prefixed fields of a reply."""
    at = 0
    while at < len(message):
        size = _FIELD.unpack_from(message, at)[0]
        yield message[at + _FIELD.size : at + _FIELD.size + size]
        at += _FIELD.size + size


async def subscribed_messages(client: "Redis", *channels: str) -> AsyncIterator[tuple[bytes, bytes] | None]:
    """Channel and message, as published, for ever; None at every new subscription: what came before it is lost."""
    while True:
        with suppress(RedisError, OSError, TimeoutError):
            async with client.pubsub() as subscription:
                await subscription.subscribe(*channels)
                quiet = False
                while True:
                    message = await subscription.get_message(timeout=SILENCE_SECONDS)
                    if message is None and quiet:
                        break
                    if message is None:
                        await subscription.ping()
                    elif message["type"] in ("subscribe", "message"):
                        yield None if message["type"] == "subscribe" else (message["channel"], message["data"])
                    quiet = message is None
        await asyncio.sleep(RESUBSCRIBE_SECONDS)
