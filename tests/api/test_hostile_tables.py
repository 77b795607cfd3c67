"""Tables that are made to cost: each is refused within a second, at a memory that its bytes bound."""

import io
import time
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

from fivefold.csv_dialect import CsvOptions
from fivefold.errors import InvalidInput
from service.api.media.read_csv import read_csv
from service.api.media.read_npy import read_npy

MB = 2**20
MAX_ROWS = 4096
CSV_BODIES: dict[str, Callable[[], bytes]] = {
    "8 million rows": lambda: b"0\n" * (8 * MB),
    "16 million blank lines": lambda: b"1\n" + b"\r" * (16 * MB),
    "2 million digits and a letter": lambda: b"1" * (2 * MB) + b"x\n",
    "8 million columns": lambda: b"0," * (8 * MB),
    "a million names": lambda: b"ab;" * MB,
    "a quote that is never closed": lambda: b'1,"2\n' + b"3,4\n" * 4000,
    "16 million quotes": lambda: b'"' * (16 * MB),
    "NUL": lambda: b"1,2\n" + b"\0" * (16 * MB),
    "half a character of UTF-16": lambda: b"\xff\xfe" + b"0" * (2 * MB + 1),
    "rows of unequal length": lambda: b"0\n" + (b"0," * 1000 + b"0\n") * 4000,
    "8 million cells": lambda: (b"0," * (2**18 - 1) + b"0\n") * 31,
    "blanks": lambda: b" " * (16 * MB),
}


@pytest.mark.parametrize("name", CSV_BODIES)
def test_a_hostile_table_is_refused_fast(name: str) -> None:
    body = CSV_BODIES[name]()
    began = time.process_time()
    with pytest.raises(InvalidInput):
        read_csv(body, CsvOptions(), MAX_ROWS)
    assert time.process_time() - began < 1.0


@pytest.mark.parametrize("name", CSV_BODIES)
def test_a_hostile_table_is_refused_in_bounded_memory(name: str) -> None:
    body = CSV_BODIES[name]()
    tracemalloc.start()
    try:
        with pytest.raises(InvalidInput):
            read_csv(body, CsvOptions(), MAX_ROWS)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3 * len(body) + 32 * MB


def forged(shape: str, descr: str = "'<f8'", data: bytes = b"") -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data


@pytest.mark.parametrize(
    "body",
    [
        forged("(True, 9)", data=bytes(72)),
        forged("(1, True)", data=bytes(8)),
        forged(f"({'1, ' * 65})", data=bytes(8)),
        forged(f"({'1, ' * 2000})", data=bytes(8)),
        forged("(1.0, 9)", data=bytes(72)),
        forged("(-1, -9)", data=bytes(72)),
        forged("(0, 9)"),
        forged("()", data=bytes(8)),
        forged("[1, 9]", data=bytes(72)),
        forged("('1', 9)", data=bytes(72)),
        forged("(1, 10**9)"),
        forged("(1, 9)", "'<c16'", bytes(144)),
        forged("(1, 9)", "'<M8[s]'", bytes(72)),
        forged("(1, 9)", "('<f8', (9,))", bytes(648)),
        forged("(1, 9)", "'|O'", bytes(72)),
        forged("(1, 9)", "None", bytes(72)),
        forged("(1, 9)", "'<f99'", bytes(72)),
        forged("(16777216,)", "'|u1'", bytes(16 * MB)),
        forged("(4, 4194304)", "'|u1'", bytes(16 * MB)),
        b"\x93NUMPY\x09\x00",
        b"",
    ],
    ids=range(21),
)
def test_a_forged_array_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput):
        read_npy(body, MAX_ROWS)


@pytest.mark.parametrize(
    ("given_type", "kept"),
    [("<f4", "float32"), (">f4", "float32"), ("<f8", "float64"), ("|u1", "float32"), ("<i4", "float64")],
)
def test_an_array_keeps_its_precision(given_type: str, kept: str) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.arange(12, dtype=given_type).reshape(3, 2, 2))
    rows = read_npy(buffer.getvalue(), MAX_ROWS).rows
    assert isinstance(rows, np.ndarray)
    assert (rows.dtype, rows.tolist()) == (np.dtype(kept), np.arange(12.0).reshape(3, 4).tolist())


def test_a_number_that_is_not_finite_is_named() -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.array([[1.0, 2.0], [3.0, np.nan]]))
    (fault,) = read_npy(buffer.getvalue(), MAX_ROWS).faults.items()
    assert (fault[0], fault[1].column) == (1, 1)
