"""Reads R's binary data frames and string databases (XDR): numbers, factors and strings, nothing else."""

import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

MAGIC = b"RDX2\nX\n"
# Type codes of R's serialisation format ("R Internals", section 1.8).
SYMBOL, PAIR_LIST, CHARACTER, LOGICAL, INTEGER, REAL, STRING, LIST, NIL, REFERENCE = (
    1,
    2,
    9,
    10,
    13,
    14,
    16,
    19,
    254,
    255,
)


# Of a database's values (version 3): "X\n", three integers, and the name of the encoding with its length.
VALUE_HEADER = 2 + 3 * 4 + 4 + len("UTF-8")


class RDataError(ValueError):
    """Bytes that are not an R data frame of numbers, factors and strings."""


def read_frame(data: bytes) -> dict[str, Any]:
    """The columns of the first data frame, by name: float64 or int32 arrays, lists of strings for factors.

    Raises RDataError on anything else.
    """
    if not data.startswith(MAGIC):
        raise RDataError(f"an uncompressed RDX2 file starts with {MAGIC!r}, this one with {data[: len(MAGIC)]!r}")
    columns, attributes = _Reader(data, len(MAGIC) + 12).pairs()[0][1]
    return {name: _plain(column) for name, column in zip(attributes["names"][0], columns, strict=True)}


def read_strings(data: bytes) -> Iterator[list[str]]:
    """The character vectors of a lazy-load database (.rdb): each a length of four bytes and a zlib stream.

    Raises RDataError on anything else, zlib.error on damaged streams.
    """
    while data:
        stream = zlib.decompressobj()
        content, data = stream.decompress(data[4:]), stream.unused_data
        yield _Reader(content, VALUE_HEADER).value()[0]


def _plain(column: Any) -> Any:
    values, attributes = column
    if "levels" not in attributes:
        return values
    levels = attributes["levels"][0]
    return [levels[code - 1] for code in values]


class _Reader:
    """A cursor over the bytes. A value is (content, attributes)."""

    def __init__(self, data: bytes, position: int) -> None:
        self.data, self.position = data, position
        self.symbols: list[str] = []

    def integer(self) -> int:
        return int(struct.unpack(">i", self.take(4))[0])

    def take(self, size: int) -> bytes:
        self.position += size
        if self.position > len(self.data):
            raise RDataError(f"the file ends at byte {len(self.data)}, a value at byte {self.position}")
        return self.data[self.position - size : self.position]

    def array(self, dtype: str) -> Any:
        big_endian = np.dtype(dtype).newbyteorder(">")
        return np.frombuffer(self.take(self.integer() * big_endian.itemsize), big_endian).astype(dtype)

    def value(self) -> Any:
        flags = self.integer()
        content = self._content(flags & 255, flags)
        return content, dict(self.pairs()) if flags & 512 and flags & 255 != CHARACTER else {}

    def _content(self, kind: int, flags: int) -> Any:
        if kind == REAL:
            return self.array("float64")
        if kind in (INTEGER, LOGICAL):
            return self.array("int32")
        if kind == CHARACTER:
            return self.take(self.integer()).decode()
        if kind in (STRING, LIST):
            values = [self.value() for _ in range(self.integer())]
            return [content for content, _ in values] if kind == STRING else values
        raise RDataError(f"type {kind} (flags {flags:#x}) at byte {self.position} is not read here")

    def pairs(self) -> list[tuple[str, Any]]:
        """A tagged pair list up to its nil."""
        pairs = []
        while (flags := self.integer()) & 255 == PAIR_LIST:
            pairs.append((self._tag(), self.value()))
        if flags & 255 != NIL:
            raise RDataError(f"type {flags & 255} at byte {self.position} within a pair list is not read here")
        return pairs

    def _tag(self) -> str:
        flags = self.integer()
        if flags & 255 == REFERENCE:
            return self.symbols[(flags >> 8) - 1]
        if flags & 255 != SYMBOL:
            raise RDataError(f"type {flags & 255} at byte {self.position} is not a tag")
        self.symbols.append(self.value()[0])
        return self.symbols[-1]
