"""Server-sent events: the incremental parser, and streams of typed chunks that end in an answer."""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import aclosing, closing
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, Self

from fivefold.errors import ConnectionFailed
from fivefold.operation import AnswerT, ChunkT, Operation
from fivefold.parsing import parsed
from fivefold.retries import error_from

_LINE_END = re.compile(rb"\r\n|\n|\r")


@dataclass(frozen=True)
class ServerEvent:
    """`id` is the last one seen, as the standard has it."""

    event: str
    data: str
    id: str


class EventParser:
    """Bytes in pieces of any size -> events (WHATWG HTML, section 9.2: event stream interpretation)."""

    def __init__(self) -> None:
        self._pending: list[bytes] = []  # pieces of the unfinished line
        self._after_cr = False
        self._event, self._data, self._id = "", list[str](), ""

    def feed(self, piece: bytes) -> list[ServerEvent]:
        if self._after_cr and piece.startswith(b"\n"):  # the second half of a CRLF that was cut in two
            piece = piece[1:]
        self._after_cr = piece.endswith(b"\r")
        first, *rest = _LINE_END.split(piece)
        self._pending.append(first)
        if not rest:
            return []
        lines = [b"".join(self._pending), *rest[:-1]]
        self._pending = rest[-1:]
        return [event for line in lines if (event := self._line(line.decode("utf-8", "replace")))]

    def _line(self, line: str) -> ServerEvent | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")  # a comment has the empty name
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value
        elif name == "id" and "\0" not in value:
            self._id = value
        return None

    def _dispatch(self) -> ServerEvent | None:
        event = ServerEvent(self._event or "message", "\n".join(self._data), self._id) if self._data else None
        self._event, self._data = "", []
        return event


class AnswerReader(Generic[AnswerT, ChunkT]):
    """The bytes of one streamed answer -> chunks, and the answer at the end. Raises what the service reports.

    `last_id` is the last event's; `heard` is whether this connection has brought anything but an error.
    """

    def __init__(self, operation: Operation[Any, AnswerT, ChunkT], request_id: str) -> None:
        self.answer: AnswerT | None = None
        self.last_id = ""
        self.heard = False
        self._operation = operation
        self._request_id = request_id
        self._parser = EventParser()

    def reconnect(self) -> None:
        """What comes now comes over another connection."""
        self._parser, self.heard = EventParser(), False

    def feed(self, piece: bytes) -> Iterator[ChunkT]:
        self.heard = self.heard or piece.startswith(b":")
        for event in self._parser.feed(piece):
            self.heard = self.heard or event.event != "error"
            self.last_id = event.id or self.last_id
            if event.event == "chunk" and self._operation.chunk is not None:
                yield parsed(self._operation.chunk, event.data, self._request_id)
            elif event.event == "done":
                self.answer = parsed(self._operation.answer, event.data, self._request_id)
            elif event.event == "error":
                raise error_from(500, {}, event.data, self._request_id)

    def finish(self) -> None:
        if self.answer is None:
            raise ConnectionFailed("the stream ended before its answer: ask again", request_id=self._request_id)


def read(pieces: Generator[bytes], reader: AnswerReader[AnswerT, ChunkT]) -> Generator[ChunkT]:
    """The chunks of one connection, up to the answer. Raises FivefoldError where it ends before."""
    with closing(pieces):
        for piece in pieces:
            yield from reader.feed(piece)
            if reader.answer is not None:
                return
    reader.finish()


async def read_async(pieces: AsyncGenerator[bytes], reader: AnswerReader[AnswerT, ChunkT]) -> AsyncGenerator[ChunkT]:
    """The same, awaited."""
    async with aclosing(pieces):
        async for piece in pieces:
            for chunk in reader.feed(piece):
                yield chunk
            if reader.answer is not None:
                return
    reader.finish()


class _Streamed(Generic[AnswerT, ChunkT]):
    def __init__(self, reader: AnswerReader[AnswerT, ChunkT]) -> None:
        self._reader = reader

    @property
    def answer(self) -> AnswerT:
        """The whole answer. Raises RuntimeError before the last chunk was read."""
        if self._reader.answer is None:
            raise RuntimeError("the stream has not reached its answer: iterate over it to the end")
        return self._reader.answer


class Stream(_Streamed[AnswerT, ChunkT]):
    """Chunks as they come, then `.answer`. The request is sent at the first chunk; closing it cancels the rest.

    The rest of a job's goes on: its stream only follows it.
    """

    def __init__(self, chunks: Generator[ChunkT], reader: AnswerReader[AnswerT, ChunkT]) -> None:
        super().__init__(reader)
        self._chunks = chunks

    def __iter__(self) -> Iterator[ChunkT]:
        return self._chunks

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._chunks.close()


class AsyncStream(_Streamed[AnswerT, ChunkT]):
    """The same, awaited."""

    def __init__(self, chunks: AsyncGenerator[ChunkT], reader: AnswerReader[AnswerT, ChunkT]) -> None:
        super().__init__(reader)
        self._chunks = chunks

    def __aiter__(self) -> AsyncIterator[ChunkT]:
        return self._chunks

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._chunks.aclose()
