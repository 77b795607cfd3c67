"""NPY and CSV bodies -> numbers: one array [n, D], or a list for each item where their lengths differ."""

import csv
import io
import math
import re
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from fivefold.errors import Invalid, InvalidInput
from service.arrays import Array

NumberTable = Array | list[list[float]]
# No two parts of it can match the same digits: a long cell costs its length, not the square of it.
NUMBER = re.compile(r"\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)


def read_npy(body: bytes) -> NumberTable:
    """Numbers [n, ...] as [n, D], float32 or float64; the header is checked before the data is touched.

    Raises InvalidInput.
    """
    stream = io.BytesIO(body)
    shape, fortran, dtype = _npy_header(stream)
    if dtype.kind not in "fiu":
        raise InvalidInput(f"an array of {dtype} given, floats or integers expected")
    if not shape or min(shape) < 1:
        raise InvalidInput(f"an array of shape {shape} given, [n, ...] expected with n of 1 or more")
    start = stream.tell()
    if len(body) - start != (expected := math.prod(shape) * dtype.itemsize):
        raise InvalidInput(f"{len(body) - start} bytes of data given, shape {shape} of {dtype} needs {expected}")
    array = np.frombuffer(body, dtype, offset=start).reshape(shape, order="F" if fortran else "C")
    kept = np.float32 if dtype.itemsize == 4 and dtype.kind == "f" else np.float64
    return _finite(array.reshape(len(array), -1).astype(kept, copy=False))


def _npy_header(stream: io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    try:
        version = np.lib.format.read_magic(stream)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        return read_header(stream)
    except Exception as error:  # a forged header raises whatever numpy's tokenizer, parser and types happen to raise
        raise InvalidInput(f"not an .npy file of numbers: {str(error)[:200]}") from error


def read_csv(body: bytes) -> NumberTable:
    """One row a line; a first line without a single number is a header. Raises InvalidInput naming row and column."""
    try:
        text = body.decode("utf-8-sig")
        plain = _plain_numbers([line for line in text.replace("\r\n", "\n").split("\n") if line])
        return _finite(_cells(text) if plain is None else plain)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput(f"not CSV in UTF-8: {error}") from error


def _plain_numbers(lines: list[str]) -> NDArray[np.float64] | None:
    """[n, D] of lines that are JSON but for the brackets, with or without a header. None for all others.

    orjson reads numbers four times faster than float(), and to the same bits. An integer -0 would lose its sign.
    """
    if lines and not any(map(NUMBER.fullmatch, lines[0].split(","))):
        del lines[0]
    numbers = ",".join(lines)
    if len({line.count(",") for line in lines}) != 1 or ",-0," in f",{numbers},".replace(" ", ""):
        return None
    if numbers.encode().translate(None, b"0123456789+-.eE, \t"):  # quotes, words
        return None
    try:
        return np.array(orjson.loads(f"[{numbers}]"), np.float64).reshape(len(lines), -1)
    except orjson.JSONDecodeError:  # an empty cell, +1, .5 or 007
        return None


def _cells(text: str) -> NumberTable:
    """The numbers of any CSV text, cell by cell. Raises InvalidInput, csv.Error."""
    lines = [line for line in csv.reader(io.StringIO(text), strict=True) if line]
    if lines and not any(map(NUMBER.fullmatch, lines[0])):
        del lines[0]
    rows = [[_number(cell, row, column) for column, cell in enumerate(line)] for row, line in enumerate(lines)]
    return np.array(rows, np.float64) if len(set(map(len, rows))) == 1 else rows


def _number(cell: str, row: int, column: int) -> float:
    if not NUMBER.fullmatch(cell):
        message = f"row {row + 1} column {column + 1}: {cell[:60]!r} given, a number expected"
        raise InvalidInput(message, invalid=[Invalid(place=f"rows.{row}.{column}", message=message)])
    return float(cell)


def _finite(table: NumberTable) -> NumberTable:
    """The table; one with NaN or infinities as lists, in which the request's own validation names the places."""
    if isinstance(table, list) or np.isfinite(table).all():
        return table
    rows: list[list[float]] = table.tolist()
    return rows
