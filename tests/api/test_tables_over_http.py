"""Tables over HTTP: names matched to the model's columns, what was detected, and the same items as JSON."""

from collections.abc import Iterator

import httpx
import pytest
import shipped
from served import serving

from model_store.store import Store
from service.families.registry import FAMILIES

PATH = "/v1/flow/encode?model=flow-shuttle"
NAMES = [f"V{column}" for column in range(1, 10)]


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with serving(Store(), FAMILIES, models=("flow-shuttle",)) as service, httpx.Client(base_url=service.url) as http:
        yield http


def post(http: httpx.Client, text: str, query: str = "", accept: str = "application/json") -> httpx.Response:
    return http.post(PATH + query, content=text.encode(), headers={"content-type": "text/csv", "accept": accept})


def lines(rows: list[list[float]], delimiter: str = ",") -> str:
    return "".join(delimiter.join(map(str, row)) + "\n" for row in rows)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_columns_in_another_order_give_the_items_of_json(http: httpx.Client, delimiter: str) -> None:
    rows = shipped.shuttle_rows(5)
    wanted = http.post(PATH.partition("?")[0], json={"model": "flow-shuttle", "rows": rows}).json()["items"]
    text = delimiter.join(NAMES[::-1]) + "\n" + lines([row[::-1] for row in rows], delimiter)
    answer = post(http, text)
    assert answer.json()["items"] == wanted
    shown = "tab" if delimiter == "\t" else delimiter
    assert answer.headers["fivefold-csv"] == f'header=yes, delimiter="{shown}", decimal="."'


def test_a_first_row_of_missing_values_is_counted_or_refused(http: httpx.Client) -> None:
    text = ",".join(["nan"] * 9) + "\n" + lines(shipped.shuttle_rows(2))
    refused = post(http, text)
    assert (refused.status_code, refused.json()["errors"][0]["place"]) == (422, "rows.0.0")
    items = post(http, text, "&on_error=skip").json()["items"]
    assert ["error" in item for item in items] == [True, False, False]


def test_names_of_other_columns_are_refused_by_name(http: httpx.Client) -> None:
    refused = post(http, ",".join(["id", *NAMES[1:]]) + "\n" + lines(shipped.shuttle_rows(1)), "&on_error=skip")
    assert refused.status_code == 422
    assert "no column 'id'" in refused.json()["detail"]


@pytest.mark.parametrize("query", ["&header=maybe", "&delimiter=x", "&decimal=;"])
def test_another_dialect_than_the_possible_ones_is_refused(http: httpx.Client, query: str) -> None:
    refused = post(http, lines(shipped.shuttle_rows(1)), query)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["place"] == query[1:].partition("=")[0]
