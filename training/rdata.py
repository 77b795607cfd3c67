"""R's data files, as the library rdata reads them: data frames, and lazy-load databases of strings."""

import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import rdata

# The length before each zlib stream of a database, in bytes.
LENGTH_BYTES = 4


def read_frame(data: bytes) -> dict[str, Any]:
    """The columns of the first data frame of an .rda file, by name; factors as their texts."""
    (frame,) = rdata.conversion.convert(rdata.parser.parse_data(data), default_encoding="utf-8").values()
    return {name: np.asarray(frame[name]) for name in frame.columns}


def read_strings(data: bytes) -> Iterator[list[str]]:
    """The character vectors of a lazy-load database (.rdb). Raises zlib.error on damaged streams."""
    while data:
        stream = zlib.decompressobj()
        content, data = stream.decompress(data[LENGTH_BYTES:]), stream.unused_data
        yield list(
            rdata.conversion.convert(rdata.parser.parse_data(content, extension=".rds"), default_encoding="utf-8")
        )
