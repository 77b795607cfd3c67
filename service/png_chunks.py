"""PNG files without what only costs: texts and profiles that unpack to megabytes."""

from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
# The picture, its transparency, its frames and, for the orientation, its Exif data.
KEPT = frozenset((b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"acTL", b"eXIf"))
FRAME_BYTES = 12  # a chunk's length, type and checksum (PNG 3rd edition, 5.3)


def without_metadata(data: bytes) -> bytes:
    """The same picture; bytes that are no PNG as they are, and a file that is cut short up to its cut."""
    if not data.startswith(SIGNATURE):
        return data
    return SIGNATURE + b"".join(chunk for chunk in _chunks(data) if chunk[4:8] in KEPT)


def _chunks(data: bytes) -> Iterator[bytes]:
    start = len(SIGNATURE)
    while start < len(data):
        stop = start + FRAME_BYTES + int.from_bytes(data[start : start + 4], "big")
        yield data[start:stop]
        start = stop
