"""Named arrays, the frame they travel in, and the fingerprint of an answer."""

import hashlib
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

Array = NDArray[Any]
Arrays = Mapping[str, Array]
_LENGTH = struct.Struct(">I")


class CorruptFrame(ValueError):
    """Bytes that are not a frame."""


def all_finite(arrays: Arrays) -> bool:
    """False where any float array holds NaN or an infinity."""
    return all(np.isfinite(array).all() for array in arrays.values() if array.dtype.kind == "f")


def fingerprint(items: Iterable[Arrays]) -> str:
    """sha256 over names, types, shapes and bytes: equal answers have equal fingerprints, and only they."""
    digest = hashlib.sha256()
    for arrays in items:
        digest.update(b"\n")
        for name in sorted(arrays):
            array = np.ascontiguousarray(arrays[name])
            digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
            digest.update(array.data)
    return digest.hexdigest()


def pack(header: Mapping[str, Any], groups: Sequence[Arrays] = ()) -> bytes:
    """One frame: the length of a JSON header, the header with the arrays' names, types and shapes, raw buffers."""
    flat = [(name, np.asarray(array)) for group in groups for name, array in group.items()]
    specs = iter([(name, array.dtype.str, array.shape) for name, array in flat])
    arrays = [[next(specs) for _ in group] for group in groups]
    text = orjson.dumps({**header, "arrays": arrays}, option=orjson.OPT_SERIALIZE_NUMPY)
    return b"".join((_LENGTH.pack(len(text)), text, *(array.tobytes() for _, array in flat)))


def unpack(frame: bytes) -> tuple[dict[str, Any], list[dict[str, Array]]]:
    """The header and the groups of arrays. Raises CorruptFrame; nothing in a frame is ever executed."""
    try:
        start = _LENGTH.size + _LENGTH.unpack_from(frame)[0]
        header = orjson.loads(frame[_LENGTH.size : start])
        groups: list[dict[str, Array]] = []
        for specs in header.pop("arrays", ()):
            groups.append({})
            for name, dtype, shape in specs:
                array = np.frombuffer(frame, _plain(dtype), int(np.prod(shape, dtype=np.int64)), start)
                groups[-1][name] = array.reshape(shape).copy()
                start += array.nbytes
    except (ValueError, TypeError, AttributeError, struct.error) as error:
        raise CorruptFrame(f"not a frame: {error}") from error
    if start != len(frame):
        raise CorruptFrame(f"a frame of {start} bytes in {len(frame)}")
    return header, groups


def _plain(dtype: str) -> np.dtype[Any]:
    """A type of plain numbers or booleans."""
    if (found := np.dtype(dtype)).kind not in "biufc":
        raise ValueError(f"arrays of {dtype} do not travel")
    return found
