"""Columns: named arrays with the items in front; the frame they travel in, and the fingerprint of an answer."""

import hashlib
import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

Array = NDArray[Any]
Arrays = Mapping[str, Array]
_LENGTH = struct.Struct(">I")


class CorruptFrame(ValueError):
    """Bytes that are not a frame."""


@dataclass(frozen=True, eq=False, slots=True)
class Ragged:
    """Items of unequal length as one array: item i is values[offsets[i]:offsets[i + 1]]."""

    values: Array
    offsets: NDArray[np.int64]

    @classmethod
    def of(cls, items: Sequence[Array]) -> "Ragged":
        """From at least one item."""
        return cls(np.concatenate(items), np.array([0, *accumulate(map(len, items))], np.int64))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> Array:
        """One item, a view."""
        item: Array = self.values[self.offsets[index] : self.offsets[index + 1]]
        return item

    def __iter__(self) -> Iterator[Array]:
        return (self[index] for index in range(len(self)))

    def select(self, where: slice | Array) -> "Ragged":
        """These items alone; a view where they follow each other."""
        if isinstance(where, slice) and where.step in (None, 1):
            start, stop, _ = where.indices(len(self))
            bounds = self.offsets[start : stop + 1]
            return Ragged(self.values[bounds[0] : bounds[-1]], bounds - bounds[0])
        chosen = np.arange(len(self))[where]
        parts = [self[index] for index in chosen.tolist()]
        return Ragged.of(parts) if parts else Ragged(self.values[:0], np.zeros(1, np.int64))


Column = Array | Ragged
Columns = Mapping[str, Column]


def select(columns: Columns, where: slice | Array) -> dict[str, Column]:
    """These items of each column; views where `where` is a slice."""
    return {
        name: column.select(where) if isinstance(column, Ragged) else column[where] for name, column in columns.items()
    }


def item_of(columns: Columns, index: int) -> dict[str, Array]:
    """One item's arrays, views; a column [k] has items of shape ()."""
    return {
        name: column[index] if isinstance(column, Ragged) else column[index, ...] for name, column in columns.items()
    }


def join(parts: Sequence[Columns]) -> dict[str, Column]:
    """The items of all parts, one after the other; every part has the same names. At least one part."""
    if len(parts) == 1:
        return dict(parts[0])
    return {name: _joined([part[name] for part in parts]) for name in parts[0]}


def _joined(columns: Sequence[Column]) -> Column:
    dense = [column for column in columns if not isinstance(column, Ragged)]
    if len(dense) == len(columns):
        return np.concatenate(dense)
    return Ragged.of([item for column in columns for item in column])


def split(batch: Arrays, counts: Sequence[int]) -> list[dict[str, Array]]:
    """The batch's rows in parts of so many. Each owns its memory, so that none keeps the batch alive."""
    if len(counts) == 1:
        return [dict(batch)]
    stops = list(accumulate(counts))
    return [
        {name: array[stop - count : stop].copy() for name, array in batch.items()}
        for count, stop in zip(counts, stops, strict=True)
    ]


def size_bytes(columns: Columns) -> int:
    """What the arrays hold."""
    return sum(
        column.values.nbytes + column.offsets.nbytes if isinstance(column, Ragged) else column.nbytes
        for column in columns.values()
    )


def finite_rows(columns: Columns, rows: int) -> NDArray[np.bool_]:
    """[rows], False where an item holds NaN or an infinity."""
    finite = np.ones(rows, np.bool_)
    for column in columns.values():
        if isinstance(column, Ragged):
            if column.values.dtype.kind == "f" and not np.isfinite(column.values).all():
                finite &= [bool(np.isfinite(item).all()) for item in column]
        elif column.dtype.kind == "f":
            finite &= np.isfinite(column).reshape(rows, -1).all(axis=1)
    return finite


def fingerprint(columns: Columns, rows: int) -> str:
    """sha256 over each item's names, types, shapes and bytes: equal answers have equal fingerprints, and only they.

    An item's bytes are "\\n", and for each name in order "name type shape\\n" and the array; a scalar's shape is (1,).
    """
    if rows == 1 or any(isinstance(column, Ragged) for column in columns.values()):
        return _fingerprint_by_item(columns, rows)
    dense = {name: np.asarray(column) for name, column in columns.items()}
    return hashlib.sha256(_matrix(dense, rows).data).hexdigest()


def _fingerprint_by_item(columns: Columns, rows: int) -> str:
    """The same without a matrix, which a ragged column has not, and which costs one item more than it saves."""
    digest, names = hashlib.sha256(), sorted(columns)
    for index in range(rows):
        digest.update(b"\n")
        for name in names:
            item = np.asarray(columns[name][index])
            digest.update(f"{name} {item.dtype.str} {item.shape or (1,)}\n".encode())
            digest.update(item.tobytes())
    return digest.hexdigest()


def _matrix(columns: Arrays, rows: int) -> NDArray[np.uint8]:
    """uint8 [rows, bytes of an item]: what is hashed."""
    parts = [np.broadcast_to(np.frombuffer(b"\n", np.uint8), (rows, 1))]
    for name in sorted(columns):
        array = columns[name]
        text = f"{name} {array.dtype.str} {array.shape[1:] or (1,)}\n".encode()
        parts.append(np.broadcast_to(np.frombuffer(text, np.uint8), (rows, len(text))))
        parts.append(np.ascontiguousarray(array).reshape(rows, -1).view(np.uint8))
    return np.concatenate(parts, axis=1)


def pack(header: Mapping[str, Any], groups: Sequence[Columns] = ()) -> bytes:
    """One frame: the length of a JSON header, the header with the arrays' names, types and shapes, raw buffers.

    A ragged column travels as its values and its offsets.
    """
    buffers: list[bytes] = []
    arrays = [[_spec(name, column, buffers) for name, column in group.items()] for group in groups]
    text = orjson.dumps({**header, "arrays": arrays}, option=orjson.OPT_SERIALIZE_NUMPY)
    return b"".join((_LENGTH.pack(len(text)), text, *buffers))


def _spec(name: str, column: Column, buffers: list[bytes]) -> list[Any]:
    """[name, dtype, shape], and the number of items where the column is ragged."""
    if isinstance(column, Ragged):
        buffers += [column.values.tobytes(), column.offsets.tobytes()]
        return [name, column.values.dtype.str, column.values.shape, len(column)]
    buffers.append(column.tobytes())
    return [name, column.dtype.str, column.shape]


def unpack(frame: bytes) -> tuple[dict[str, Any], list[dict[str, Column]]]:
    """The header and the groups of columns. Raises CorruptFrame; nothing in a frame is ever executed."""
    try:
        start = _LENGTH.size + _LENGTH.unpack_from(frame)[0]
        header = orjson.loads(frame[_LENGTH.size : start])
        reader = _Reader(frame, start)
        groups = [{spec[0]: reader.column(*spec[1:]) for spec in specs} for specs in header.pop("arrays", ())]
    except (ValueError, TypeError, AttributeError, IndexError, OverflowError, struct.error) as error:
        raise CorruptFrame(f"not a frame: {error}") from error
    if reader.at != len(frame):
        raise CorruptFrame(f"a frame of {reader.at} bytes in {len(frame)}")
    return header, groups


class _Reader:
    """Reads one buffer after the other."""

    def __init__(self, frame: bytes, at: int) -> None:
        self.frame, self.at = frame, at

    def column(self, dtype: str, shape: Sequence[int], items: int | None = None) -> Column:
        values = self._array(_plain(dtype), shape)
        if items is None:
            return values
        offsets = self._array(np.dtype(np.int64), (items + 1,))
        if offsets[0] != 0 or offsets[-1] != len(values) or (np.diff(offsets) < 0).any():
            raise ValueError("offsets that do not rise from 0 to the number of values")
        return Ragged(values, offsets)

    def _array(self, dtype: np.dtype[Any], shape: Sequence[int]) -> Array:
        if any(size < 0 for size in shape):
            raise ValueError(f"a shape of {shape}")
        array = np.frombuffer(self.frame, dtype, math.prod(shape), self.at)
        self.at += array.nbytes
        return array.reshape(shape).copy()


def _plain(dtype: str) -> np.dtype[Any]:
    """A type of plain numbers or booleans."""
    if (found := np.dtype(dtype)).kind not in "biufc":
        raise ValueError(f"arrays of {dtype} do not travel")
    return found
