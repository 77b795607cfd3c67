"""NPY bodies -> numbers."""

import io
import math
from typing import Any

import numpy as np

from fivefold.csv_dialect import Fault
from fivefold.errors import InvalidInput
from service.api.media.number_table import NumberTable, require_cells, require_rows
from service.arrays import Array

MAX_DIMENSIONS = 64  # numpy's own limit


def read_npy(body: bytes, max_rows: int) -> NumberTable:
    """Numbers [n, ...] as [n, D], float32 or float64; the header is checked before the data is touched.

    Raises InvalidInput.
    """
    stream = io.BytesIO(body)
    shape, fortran, dtype = _header(stream)
    if dtype.kind not in "fiu":
        raise InvalidInput(f"an array of {dtype} given, floats or integers expected")
    if not _is_possible(shape):
        raise InvalidInput(
            f"an array of shape {str(shape)[:200]} given, [n, ...] expected with n of 1 or more, "
            f"and at most {MAX_DIMENSIONS} dimensions"
        )
    start, cells = stream.tell(), math.prod(shape)
    if len(body) - start != (expected := cells * dtype.itemsize):
        raise InvalidInput(f"{len(body) - start} bytes of data given, shape {shape} of {dtype} needs {expected}")
    require_rows(shape[0], max_rows)
    require_cells(cells)
    array = np.frombuffer(body, dtype, offset=start).reshape(shape, order="F" if fortran else "C")
    with np.errstate(all="ignore"):  # what float64 cannot hold becomes infinite, and is named below
        rows = array.reshape(len(array), -1).astype(_kept(dtype), copy=False)
    return NumberTable(rows, faults=_faults(rows))


def _header(stream: io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    try:
        version = np.lib.format.read_magic(stream)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        return read_header(stream)
    except Exception as error:  # a forged header raises whatever numpy's tokenizer, parser and types happen to raise
        raise InvalidInput(f"not an .npy file of numbers: {str(error)[:200]}") from error


def _is_possible(shape: tuple[int, ...]) -> bool:
    """Whether all lengths are positive integers. To Python, and so to numpy's reader, True is one as well."""
    return 0 < len(shape) <= MAX_DIMENSIONS and all(type(length) is int and length > 0 for length in shape)


def _kept(dtype: np.dtype[Any]) -> type[np.floating[Any]]:
    """The smaller type that holds every number of `dtype`, or float64."""
    return np.float32 if dtype.itemsize < 4 or (dtype.itemsize == 4 and dtype.kind == "f") else np.float64


def _faults(rows: Array) -> dict[int, Fault]:
    finite = np.isfinite(rows)
    bad = np.flatnonzero(~finite.all(axis=1))
    columns = np.argmin(finite[bad], axis=1).tolist() if bad.size else []
    return {
        row: _fault(row, column, float(rows[row, column])) for row, column in zip(bad.tolist(), columns, strict=True)
    }


def _fault(row: int, column: int, number: float) -> Fault:
    return Fault(column, f"row {row + 1} column {column + 1}: {number} given, a finite number expected")
