"""NPY and CSV bodies: the numbers that float() and numpy read, to the last bit, and every other cell named."""

import io
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fivefold.errors import InvalidInput
from service.api.media.number_tables import read_csv, read_npy

FINITE = st.floats(allow_nan=False, allow_infinity=False)
DECIMAL = st.from_regex(r"\A[+-]?([0-9]{1,30}(\.[0-9]{0,30})?|\.[0-9]{1,30})([eE][+-]?[0-9]{1,2})?\Z")


def bits(table: object) -> list[int]:
    return np.asarray(table, np.float64).reshape(-1).view(np.int64).tolist()


@given(st.lists(FINITE, min_size=1, max_size=40))
def test_a_number_that_python_wrote_comes_back(numbers: list[float]) -> None:
    assert bits(read_csv("\n".join(map(repr, numbers)).encode())) == bits(numbers)


@given(st.lists(DECIMAL, min_size=1, max_size=10), st.sampled_from([",", ", ", ' ,"1",']))
def test_every_decimal_number_is_the_one_that_float_reads(cells: list[str], separator: str) -> None:
    expected = [float(cell) for cell in separator.replace('"', "").join(cells).split(",")]
    assert bits(read_csv(separator.join(cells).encode())) == bits(expected)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("header", ["", "a,b\n", '"a","b"\n'])
@pytest.mark.parametrize("cell", ["-0", "-0.0", "+1", ".5", "5.", "007", " 8 ", '"9"', "18446744073709551616"])
def test_lines_headers_and_odd_numbers_are_one_table(cell: str, header: str, end: str) -> None:
    text = f"\ufeff{header}1,{cell}\n\n2,3\n".replace("\n", end)
    assert bits(read_csv(text.encode())) == bits([[1.0, float(cell.strip('"'))], [2.0, 3.0]])


@pytest.mark.parametrize("text", ["", "a,b\n", "1,2\n3\n", "1,1e999\n"])
def test_what_the_requests_own_validation_judges_stays_lists(text: str) -> None:
    assert isinstance(read_csv(text.encode()), list)


@pytest.mark.parametrize("cell", ["nan", "inf", "1_0", "0x1", "", "١", "1 2", "-", "true", "null", "[1]"])
def test_another_cell_is_named_by_row_and_column(cell: str) -> None:
    with pytest.raises(InvalidInput, match="row 2 column 2: ") as refused:
        read_csv(f"a,b\n1,2\n3,{cell}\n".encode())
    assert refused.value.invalid[0].place == "rows.1.1"


def test_a_cell_of_a_hundred_thousand_digits_costs_its_length() -> None:
    began = time.process_time()
    with pytest.raises(InvalidInput):
        read_csv(b"1," + b"1" * 100_000 + b"x\n")
    assert time.process_time() - began < 1.0


@pytest.mark.parametrize(("given_type", "kept"), [("<f4", "float32"), (">f4", "float32"), ("<f8", "float64")])
def test_an_array_keeps_its_precision(given_type: str, kept: str) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.arange(12, dtype=given_type).reshape(3, 2, 2))
    table = read_npy(buffer.getvalue())
    assert isinstance(table, np.ndarray)
    assert (table.dtype, table.shape) == (np.dtype(kept), (3, 4))
    assert table.tolist() == np.arange(12.0).reshape(3, 4).tolist()
