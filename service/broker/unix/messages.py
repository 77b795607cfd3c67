"""Messages between the processes of one machine: a JSON header and byte frames, each with its length before it."""

import struct
from asyncio import IncompleteReadError, StreamReader
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import orjson

_COUNT = struct.Struct(">I")
Message = tuple[dict[str, Any], list[bytes]]


def encode_message(header: Mapping[str, Any], frames: Sequence[bytes] = ()) -> bytes:
    """The length of everything, then each part with its length before it."""
    parts = [orjson.dumps(header), *frames]
    body = b"".join(piece for part in parts for piece in (_COUNT.pack(len(part)), part))
    return _COUNT.pack(len(body)) + body


def decode_message(body: bytes) -> Message:
    parts, at = [], 0
    while at < len(body):
        start = at + _COUNT.size
        at = start + _COUNT.unpack_from(body, at)[0]
        parts.append(body[start:at])
    return orjson.loads(parts[0]), parts[1:]


async def messages(reader: StreamReader) -> AsyncIterator[Message]:
    """Every message until the other side is gone."""
    try:
        while True:
            size = _COUNT.unpack(await reader.readexactly(_COUNT.size))[0]
            yield decode_message(await reader.readexactly(size))
    except (IncompleteReadError, ConnectionError):
        return
