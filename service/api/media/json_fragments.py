"""JSON cut into fragments that are counted, but not built: the fields of an object, the entries of an array."""

from collections.abc import Mapping
from functools import cache

import msgspec
import numpy as np
from msgspec import Raw

from fivefold.errors import InvalidInput

CHUNK_BYTES = 2**20
FEW_ENTRIES = 65_536  # so many fragments take little memory
QUOTE, COMMA = b'",'
DEPTH = np.zeros(256, np.int8)
DEPTH[list(b"[{")], DEPTH[list(b"]}")] = 1, -1


def cut_object(body: bytes, names: tuple[str, ...]) -> Mapping[str, bytes]:
    """The values of an object that has no other fields than these. Raises InvalidInput for anything else."""
    try:
        fields = msgspec.json.decode(body, type=_fields(names))
    except RecursionError:
        raise InvalidInput.at("", "Invalid JSON: nested too deeply: send one list for each item") from None
    except msgspec.MsgspecError as error:
        if (plain := _with_decimals(body)) != body:
            return cut_object(plain, names)
        raise InvalidInput.at("", f"Invalid JSON: {error}; the fields are {', '.join(names)}") from error
    values = {name: bytes(getattr(fields, f"f{index}")) for index, name in enumerate(names)}
    return {name: value for name, value in values.items() if value}


def _with_decimals(body: bytes) -> bytes:
    """The same with 1e999 for NaN and Infinity outside of strings: Python writes them, JSON lacks them."""
    if not (b"NaN" in body or b"Infinity" in body) or body.count(b'"') > FEW_ENTRIES:
        return body
    parts = body.replace(rb"\\", b"\0\0").replace(rb"\"", b"\0\1").split(b'"')
    parts[::2] = [part.replace(b"NaN", b"1e999").replace(b"Infinity", b"1e999") for part in parts[::2]]
    return b'"'.join(parts).replace(b"\0\1", rb"\"").replace(b"\0\0", rb"\\")


def cut_array(array: bytes, most: int) -> list[Raw]:
    """The entries of an array. Raises InvalidInput where there are more than `most`, before any of them is read."""
    if array.count(b",") >= FEW_ENTRIES:
        _check_count(count_entries(array), most)
    entries: list[Raw] = msgspec.json.decode(array, type=list[Raw])
    _check_count(len(entries), most)
    return entries


def _check_count(count: int, most: int) -> None:
    if count > most:
        raise InvalidInput(f"{count} items given, the limit is {most}: send several requests")


def count_entries(array: bytes) -> int:
    """How many entries an array has that is not empty: one more than the commas that lie in no string and no entry."""
    plain = array.replace(rb"\\", b"  ").replace(rb"\"", b"  ")
    count, depth, quoted = 1, 0, False
    for start in range(0, len(plain), CHUNK_BYTES):
        chunk = np.frombuffer(plain, np.uint8, min(CHUNK_BYTES, len(plain) - start), start)
        inside = np.logical_xor.accumulate(chunk == QUOTE) ^ quoted
        depths = depth + np.cumsum(np.where(inside, 0, DEPTH[chunk]), dtype=np.int32)
        count += int(((chunk == COMMA) & ~inside & (depths == 1)).sum())
        depth, quoted = int(depths[-1]), bool(inside[-1])
    return count


@cache
def _fields(names: tuple[str, ...]) -> type[msgspec.Struct]:
    """A struct of fragments, each empty where the field is not given."""
    fields = [(f"f{index}", Raw, Raw()) for index in range(len(names))]
    rename = {f"f{index}": name for index, name in enumerate(names)}
    return msgspec.defstruct("Fields", fields, rename=rename, forbid_unknown_fields=True)
