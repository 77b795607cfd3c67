"""CSV bodies: the numbers of every dialect to the last bit, every other cell named, and no row lost."""

import csv
import io
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fivefold.csv_dialect import MISSING, CsvOptions
from fivefold.errors import InvalidInput
from service.api.media.number_table import NumberTable
from service.api.media.read_csv import BLOCK_CELLS, read_csv

MAX_ROWS = 4096
FINITE = st.floats(allow_nan=False, allow_infinity=False)
DECIMAL = st.from_regex(r"\A[+-]?([0-9]{1,30}(\.[0-9]{0,30})?|\.[0-9]{1,30})([eE][+-]?[0-9]{1,2})?\Z")
NAME = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"]), min_size=1, max_size=8)
TABLES = st.integers(2, 5).flatmap(
    lambda width: st.lists(st.lists(FINITE, min_size=width, max_size=width), min_size=1, max_size=6)
)
DIALECTS = st.fixed_dictionaries(
    {
        "delimiter": st.sampled_from([",", ";", "\t", "|"]),
        "lineterminator": st.sampled_from(["\n", "\r\n", "\r"]),
        "quoting": st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    }
)
ENCODINGS = st.sampled_from(["utf-8", "utf-8-sig", "utf-16"])


def read(text: str | bytes, **options: Any) -> NumberTable:
    body = text if isinstance(text, bytes) else text.encode()
    return read_csv(body, CsvOptions.model_validate(options), MAX_ROWS)


def bits(numbers: Any) -> list[int]:
    return np.asarray(numbers, np.float64).reshape(-1).view(np.int64).tolist()


def in_python(rows: Sequence[Sequence[Any]], **dialect: Any) -> str:
    """As Python's csv module writes it."""
    buffer = io.StringIO()
    csv.writer(buffer, **dialect).writerows(rows)
    return buffer.getvalue()


@given(rows=TABLES, dialect=DIALECTS, encoding=ENCODINGS, blank_lines=st.integers(0, 3))
def test_a_table_of_any_dialect_has_the_numbers_that_were_written(
    rows: list[list[float]], dialect: dict[str, Any], encoding: str, blank_lines: int
) -> None:
    text = in_python(rows, **dialect) + dialect["lineterminator"] * blank_lines
    table = read(text.encode(encoding))
    assert (table.dialect.delimiter, table.dialect.header) == (dialect["delimiter"], False)
    assert (np.shape(table.rows), bits(table.rows)) == (np.shape(rows), bits(rows))
    assert not table.faults


@given(rows=TABLES, delimiter=st.sampled_from([";", "\t", "|"]), quoting=DIALECTS.map(lambda one: one["quoting"]))
def test_a_decimal_comma_is_read_where_it_can_be_no_delimiter(
    rows: list[list[float]], delimiter: str, quoting: Literal[0, 1, 2, 3]
) -> None:
    rows[0][0] = 0.5
    names = [f"c{place}" for place in range(len(rows[0]))]
    text = pd.DataFrame(rows, columns=names).to_csv(sep=delimiter, decimal=",", index=False, quoting=quoting)
    table = read(text)
    assert (table.names, table.dialect.decimal) == (names, ",")
    assert bits(table.rows) == bits([[float(repr(number)) for number in row] for row in rows])


@given(rows=TABLES, dialect=DIALECTS, words=st.lists(NAME, min_size=5, max_size=5), encoding=ENCODINGS)
def test_a_header_of_any_words_is_taken_for_one_and_costs_no_row(
    rows: list[list[float]], dialect: dict[str, Any], words: list[str], encoding: str
) -> None:
    names = ["a word", *words][: len(rows[0])]
    table = read(in_python([names, *rows], **dialect).encode(encoding), delimiter=dialect["delimiter"])
    assert table.names == [name.strip() for name in names]
    assert bits(table.rows) == bits(rows)


@given(st.lists(st.lists(st.sampled_from([*MISSING, "1", "-2.5", "inf", "1e999"]), min_size=2, max_size=2), min_size=1))
def test_rows_of_numbers_and_missing_values_are_all_counted(rows: list[list[str]]) -> None:
    table = read(in_python([[*cells, "7"] for cells in rows]))
    assert not table.dialect.header
    assert len(table) == len(rows)
    bad = [row for row, cells in enumerate(rows) if not set(cells) <= {"1", "-2.5"}]
    assert list(table.faults) == bad


@given(st.lists(DECIMAL, min_size=1, max_size=10), st.sampled_from([",", ", ", ' ,"1",']))
def test_every_decimal_number_is_the_one_that_float_reads(cells: list[str], separator: str) -> None:
    expected = [float(cell) for cell in separator.replace('"', "").join(cells).split(",")]
    assert bits(read(separator.join(cells)).rows) == bits(expected)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("header", ["", "a,b\n", '"a","b"\n', "x,\n"])
@pytest.mark.parametrize("cell", ["-0", "-0.0", "+1", ".5", "5.", "007", " 8 ", '"9"', "18446744073709551616", "\t1"])
def test_lines_headers_and_odd_numbers_are_one_table(cell: str, header: str, end: str) -> None:
    text = f"\ufeff{header}1,{cell}\n \n2,3\n\n".replace("\n", end)
    assert bits(read(text).rows) == bits([[1.0, float(cell.strip('"'))], [2.0, 3.0]])


@pytest.mark.parametrize(
    "cell", ["nan", "inf", "1_0", "0x1", "", "١", "1 2", "-", "true", "null", "[1]", "1e999", "−1"]
)
@pytest.mark.parametrize("quote", ["", '"'])
def test_another_cell_is_named_by_row_and_column(cell: str, quote: str) -> None:
    table = read(f"a,b\n1,2\n3,{quote}{cell}{quote}\n5,6\n")
    (fault,) = table.faults.values()
    assert (list(table.faults), fault.column) == ([1], 1)
    assert fault.message.startswith("row 2 column 2 (b): ")
    assert repr(cell) in fault.message
    assert bits(table.rows[[0, 2]]) == bits([[1, 2], [5, 6]])
    with pytest.raises(InvalidInput, match="row 2 column 2") as refused:
        table.refuse("rows", skip=False)
    assert refused.value.invalid[0].place == "rows.1.1"


@given(st.integers(1, 40), st.integers(0, 39))
def test_the_first_bad_cell_of_a_row_is_found(width: int, place: int) -> None:
    bad = place % width
    cells = [*["+1"] * bad, "x", *["2", ""] * width][:width]
    (fault,) = read(",".join(cells), header="no").faults.values()
    assert fault.column == bad


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("1;2;\n3;4;\n", {}, [[1, 2], [3, 4]]),
        ("a;b;\n3;4;\n", {}, [[3, 4]]),
        ("a;b\n3;4;\n", {}, [[3, 4]]),
        ("2020,2021\n1,2\n", {}, [[2020, 2021], [1, 2]]),
        ("2020,2021\n1,2\n", {"header": "yes"}, [[1, 2]]),
        ('"1,5","2"\n', {"decimal": ","}, [[1.5, 2]]),
        ("1,5\n2,5\n", {"decimal": ","}, [[1.5], [2.5]]),
        ("1,5\n2,5\n", {"delimiter": "tab", "decimal": ","}, [[1.5], [2.5]]),
        ("1\t2\n", {"delimiter": "\t"}, [[1, 2]]),
        ('"a\nb","c;d"\n1,2\n', {}, [[1, 2]]),
        ("5\n6\n", {}, [[5], [6]]),
        ('""\n6\n', {}, [[np.nan], [6]]),
        ("1,2\n3\n", {}, [[1, 2], [3]]),
    ],
)
def test_dialects_are_detected_or_declared(text: str, options: dict[str, str], expected: list[list[float]]) -> None:
    rows = [list(row) for row in read(text, **options).rows]
    assert list(map(bits, rows)) == list(map(bits, expected))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "0 rows given"),
        ("a,b\n", "0 rows given beside the header"),
        ('1,2\n3,"4\n5,6\n7,8\n', "a quote that opens in line 2"),
        ('1,2\n3,"4\n5",6\n7,8\n', "a quote that opens in line 2"),
        (b"1,\xe9\n", "not text in UTF-8"),
        (b"1,2\n\x00", "NUL"),
        ("1,2".encode("utf-32"), "UTF-32"),
        (b"\xff\xfe1", "not text in UTF-8"),
    ],
)
def test_what_is_no_table_is_refused_whatever_is_skipped(text: str | bytes, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        read(text)


def test_a_comma_beside_points_is_no_decimal_comma() -> None:
    table = read("1,234;2.5\n1.5;3\n")
    assert list(table.faults) == [0]
    assert "see the option decimal" in table.faults[0].message


def test_a_point_beside_decimal_commas_is_no_delimiter_of_thousands() -> None:
    assert list(read("1.234,5;2\n1,5;3\n", decimal=",").faults) == [0]


def test_columns_are_matched_by_name() -> None:
    table = read("b,a\n1,2\n3,\n")
    assert bits(table.ordered(["a", "b"])[0]) == bits([2, 1])
    assert bits(table.ordered([])[0]) == bits([1, 2])
    assert read("a,b\n1,2\n3\n").ordered(["b", "a"])[0] == [2, 1]


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("a,c", "no column 'c'"),
        ("a", "has no column 'b'"),
        ("a,b,b", "'b' more than once"),
        (",a,b", "column 1 .* no name"),
    ],
)
def test_unknown_missing_and_repeated_names_are_named(header: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        read(f"{header}\n{','.join('1' * len(header.split(',')))}\n").ordered(["a", "b"])


def test_a_first_line_of_words_and_numbers_is_no_header_by_itself_where_there_are_no_names_to_match() -> None:
    with pytest.raises(InvalidInput, match="header=yes"):
        read("x,1\n2,3\n").ordered([])
    assert len(read("x,1\n2,3\n", header="yes").ordered([])) == 1
    assert list(read("x,1\n2,3\n", header="no").faults) == [0]


def test_a_fault_in_one_block_leaves_the_others() -> None:
    rows = np.arange(3.0 * BLOCK_CELLS).reshape(-1, BLOCK_CELLS // 2)
    lines = [",".join(map(repr, row)) for row in rows.tolist()]
    lines[3] = "x" + lines[3]
    table = read("\n".join(lines))
    assert list(table.faults) == [3]
    assert bits(np.delete(table.rows, 3, axis=0)) == bits(np.delete(rows, 3, axis=0))


def test_at_most_ten_rows_are_reported_and_the_others_counted() -> None:
    with pytest.raises(InvalidInput, match=r"row 1 column 1: .* \(and 49 more rows\)") as refused:
        read("nan\n" * 50).refuse("rows", skip=True)
    assert [invalid.place for invalid in refused.value.invalid] == [f"rows.{row}.0" for row in range(10)]
