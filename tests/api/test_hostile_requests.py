"""Whatever comes in, the answer is a problem with a code, both numbers and the way out; and the next request works."""

import gzip
import io
import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import PIL.Image
import pytest
import toy
from served import serving

from model_store.store import Store

SCALE, COUNT = "/v1/toy/scale", "/v1/toy/count"
JSON, CSV, NPY, PNG = "application/json", "text/csv", "application/x-npy", "image/png"
ROW = [0.0, 1.0, 2.0, 3.0]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """One service for all of them: what one request breaks, the next one sees."""
    store = Store(tmp_path_factory.mktemp("store") / "models")
    toy.publish_toy(store)
    with serving(store) as running, httpx.Client(base_url=running.url, timeout=30) as client:
        yield client


@pytest.fixture(autouse=True)
def the_next_request_works(shared: httpx.Client) -> Any:
    yield
    assert shared.post(SCALE, json={"rows": [ROW]}).json()["items"][0]["row"] == [1.0, 3.0, 5.0, 7.0]


def refused(shared: httpx.Client, status: int, code: str, path: str = SCALE, **request: Any) -> dict[str, Any]:
    response = shared.post(path, **request)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem["code"] == code
    assert problem["status"] == status
    assert problem["request_id"] == response.headers["x-request-id"]
    assert len(problem["detail"]) < 2000
    return problem


def body(content: bytes | str, media_type: str = JSON, **more: Any) -> dict[str, Any]:
    return {"content": content, "headers": {"content-type": media_type, **more}}


def npy(array: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def npy_header(header: str, data: bytes = b"") -> bytes:
    text = header.encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


@pytest.mark.parametrize(
    ("path", "fields", "place", "said"),
    [
        (SCALE, '{"rows": [[0,1,2,3]], "colour": 1}', "colour", "unknown field; the fields are"),
        (COUNT, '{"n": 0}', "n", "0 given"),
        (COUNT, '{"n": -1}', "n", "-1 given"),
        (COUNT, '{"n": 1000000000}', "n", "4096"),
        (COUNT, '{"steps": 1000000000}', "steps", "100"),
        (COUNT, '{"n": true}', "n", "integer"),
        (COUNT, '{"n": "3"}', "n", "integer"),
        (COUNT, '{"n": 2.5}', "n", "integer"),
        (COUNT, '{"n": ' + "9" * 5000 + "}", "", "JSON"),
        (COUNT, '{"n": ' + "9" * 4000 + "}", "n", "4096"),
        (COUNT, '{"seed": 9007199254740992}', "seed", "9007199254740992"),
        (COUNT, '{"seed": -1}', "seed", "-1 given"),
        (COUNT, '{"seeds": []}', "seeds", "at least 1"),
        (COUNT, '{"seeds": [1, "x"]}', "seeds.1", "'x' given"),
        (COUNT, '{"n": 3, "seeds": [1, 2]}', None, "2 seeds given for 3 items"),
        (COUNT, '{"priority": "now"}', "priority", "interactive"),
        (COUNT, '{"deadline_ms": 0}', "deadline_ms", "0 given"),
        (SCALE, "{}", None, "neither images nor rows"),
        (SCALE, '{"rows": []}', "rows", "at least 1"),
        (SCALE, '{"rows": 5}', "rows", "5 given"),
        (SCALE, '{"rows": [1, 2]}', "rows.0", "1 given"),
        (SCALE, '{"rows": [[]]}', "rows.0", "0 numbers given, 4 expected"),
        (SCALE, '{"rows": [[0,1,2]]}', "rows.0", "3 numbers given, 4 expected"),
        (SCALE, '{"rows": [[0,1,2,NaN]]}', "rows.0.3", "finite"),
        (SCALE, '{"rows": [[0,1,2,-Infinity]]}', "rows.0.3", "finite"),
        (SCALE, '{"rows": [[0,1,2,1e999]]}', "rows.0.3", "finite"),
        (SCALE, '{"rows": [[0,1,2,"inf"]]}', "rows.0.3", "'inf' given"),
        (SCALE, '{"rows": [[0,1,2,true]]}', "rows.0.3", "number"),
        (SCALE, '{"rows": [[0,1,2,null]]}', "rows.0.3", "number"),
        (SCALE, '{"images": ["?"]}', "images.0", "base64"),
        (SCALE, '{"images": [7]}', "images.0", "base64"),
        (SCALE, "[]", "", "object"),
        (SCALE, "null", "", "object"),
        (SCALE, "{", "", "JSON"),
        (SCALE, "nonsense", "", "JSON"),
        (SCALE, '{"a":' * 10_000 + "1" + "}" * 10_000, "", "JSON"),
        (SCALE, '{"rows": ' + "[" * 10_000, "", "JSON"),
        (SCALE, '{"model": "\\ud800"}', "", "JSON"),
        (SCALE, b'{"model": "\xff"}', None, ""),
    ],
)
def test_a_request_that_cannot_run_is_told_where_and_why(
    shared: httpx.Client, path: str, fields: str, place: str | None, said: str
) -> None:
    problem = refused(shared, 422, "invalid_input", path, **body(fields))
    assert said in problem["detail"]
    if place is not None:
        assert problem["errors"][0]["place"] == place


def test_the_message_names_the_rows_that_are_bad_ten_at_most(shared: httpx.Client) -> None:
    rows = [ROW[: 3 if index % 2 else 4] for index in range(60)]
    problem = refused(shared, 422, "invalid_input", json={"rows": rows})
    assert [place["place"] for place in problem["errors"]] == [f"rows.{index}" for index in range(1, 20, 2)]
    assert problem["detail"].startswith("30 of 60 items cannot be run")


def test_a_thousand_mistakes_are_reported_in_few_words(shared: httpx.Client) -> None:
    problem = refused(shared, 422, "invalid_input", json={"rows": [["x" * 1000] * 4] * 1000})
    assert len(problem["errors"]) == 10
    assert "at least 9 more" in problem["detail"]


def test_more_rows_than_the_limit_are_refused_with_both_numbers(shared: httpx.Client) -> None:
    problem = refused(shared, 422, "invalid_input", json={"rows": [ROW] * 4097})
    assert "4097" in problem["detail"]
    assert "4096" in problem["detail"]


@pytest.mark.parametrize(
    "name", ["nobody", "../toy-affine", "toy-affine@9", "", "a" * 10_000, "toy\x00affine", "@", "é"]
)
def test_an_unknown_model_is_404(shared: httpx.Client, name: str) -> None:
    refused(shared, 404, "unknown_model", json={"rows": [ROW], "model": name})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "npy"),
        (b"nonsense", "npy"),
        (npy(np.zeros((2, 4), object), allow_pickle=True), "object"),
        (npy(np.zeros((2, 4), bool)), "bool"),
        (npy(np.zeros((2, 4), complex)), "complex"),
        (npy(np.zeros((2, 4), "U3")), "U3"),
        (npy(np.float32(1)), "shape ()"),
        (npy(np.zeros((0, 4))), "shape (0, 4)"),
        (npy(np.zeros((3, 5), np.float32)), "5 numbers given, 4 expected"),
        (npy(np.full((1, 4), np.nan)), "finite"),
        (npy(np.full((1, 4), np.inf)), "finite"),
        (npy(np.zeros((2, 4)))[:-1], "63 bytes"),
        (npy(np.zeros((2, 4))) + b"x", "65 bytes"),
        (npy_header("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 4)}"), "0 bytes"),
        (npy_header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, -4)}", bytes(32)), "shape (-1, -4)"),
        (npy_header("{'descr': '<f8', 'fortran_order': False, 'shape': (4611686018427387904, 0)}"), "shape"),
        (npy_header("{'descr': '|V0', 'fortran_order': False, 'shape': (4,)}"), "V0"),
        (npy_header("{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (4,)}", bytes(32)), "given"),
        (npy_header("(" * 5000), "npy"),
        (npy_header("__import__('os').getcwd()"), "npy"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff{", "npy"),
        (b"\x93NUMPY\x09\x09\x01\x00{", "npy"),
    ],
)
def test_an_array_is_judged_by_its_header_before_its_data(shared: httpx.Client, content: bytes, said: str) -> None:
    assert said in refused(shared, 422, "invalid_input", **body(content, NPY))["detail"]


def test_a_word_in_a_table_is_named_by_row_and_column(shared: httpx.Client) -> None:
    lines = ["a,b,c,d"] + ["0,1,2,3"] * 16 + ["0,1,red,3"] + ["0,1,2,3"] * 3
    problem = refused(shared, 422, "invalid_input", **body("\n".join(lines), CSV))
    assert "row 17 column 3 (c): 'red' given, a number expected" in problem["detail"]
    assert problem["errors"][0]["place"] == "rows.16.2"


@pytest.mark.parametrize(
    "content",
    [
        *["", "a,b,c,d\n", "0,1,2\n", "0,1,2,nan\n", "0,1,2,inf\n", "0,1,2,1e999\n", "0,1,2,1_0\n", "0,1,,3\n"],
        *['0,1,"2\n', "0 1 2 3\n0 1 2 3\n", b"0,1,2,\x00\n", b"\xff\xfe0", "0," * 40_000, "0" * 90_000],
    ],
)
def test_a_table_that_is_not_one_of_numbers_is_refused(shared: httpx.Client, content: bytes | str) -> None:
    refused(shared, 422, "invalid_input", **body(content, CSV))


@pytest.mark.parametrize("query", ["colour=1", "seed=x", "seed=-1", "seed=1e3", "on_error=maybe", "deadline_ms=0"])
def test_the_query_beside_a_table_is_judged_like_a_body(shared: httpx.Client, query: str) -> None:
    problem = refused(shared, 422, "invalid_input", f"{SCALE}?{query}", **body("0,1,2,3", CSV))
    assert problem["errors"][0]["place"] == query.partition("=")[0]


def test_the_field_that_the_body_fills_is_not_taken_from_the_query(shared: httpx.Client) -> None:
    refused(shared, 422, "invalid_input", f"{SCALE}?rows=1", **body("0,1,2,3", CSV))


def test_a_query_beside_json_is_refused(shared: httpx.Client) -> None:
    refused(shared, 422, "invalid_input", f"{SCALE}?seed=1", json={"rows": [ROW]})


def png(size: tuple[int, int] = (2, 2), mode: str = "L", **options: Any) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.new(mode, size).save(buffer, options.pop("format", "PNG"), **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"nonsense",
        png((2, 2))[:45],
        png((3, 2)),
        png((20_000, 20_000)),
        png(mode="RGBA"),
        png(mode="CMYK", format="TIFF"),
        png(format="GIF"),
    ],
)
def test_a_picture_that_is_not_the_models_is_refused(shared: httpx.Client, content: bytes) -> None:
    refused(shared, 422, "invalid_input", **body(content, PNG))


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "x" * 1000, "a/b/c"])
def test_a_body_of_another_type_is_told_what_is_read(shared: httpx.Client, media_type: str) -> None:
    problem = refused(shared, 415, "unsupported_media_type", **body("{}", media_type))
    assert "application/json, application/x-npy, text/csv, image/png" in problem["detail"]


def test_a_compressed_body_is_not_unpacked(shared: httpx.Client) -> None:
    request = body(gzip.compress(bytes(10**6)), JSON, **{"content-encoding": "gzip"})
    assert "gzip" in refused(shared, 415, "unsupported_media_type", **request)["detail"]


@pytest.mark.parametrize("accept", ["text/html", "image/png", "application/json;q=0", "text/event-stream", "x", ";;,"])
def test_an_answer_of_another_type_is_told_what_there_is(shared: httpx.Client, accept: str) -> None:
    problem = refused(shared, 406, "not_acceptable", json={"rows": [ROW]}, headers={"accept": accept})
    assert "application/json, application/x-npy, text/csv" in problem["detail"]


def test_one_picture_is_not_two(shared: httpx.Client) -> None:
    problem = refused(shared, 406, "not_acceptable", COUNT, json={"n": 2}, headers={"accept": "image/png"})
    assert "2" in problem["detail"]


def test_a_body_over_the_limit_is_refused_with_both_numbers(shared: httpx.Client) -> None:
    limit = 16 * 2**20
    declared = refused(shared, 413, "payload_too_large", **body(bytes(limit + 1)))
    chunked = refused(shared, 413, "payload_too_large", **body(bytes(2**16) for _ in range(260)))
    for problem in (declared, chunked):
        assert str(limit) in problem["detail"]


def test_a_body_in_a_hundred_thousand_chunks_is_read(shared: httpx.Client) -> None:
    text = json.dumps({"rows": [ROW], "seed": 1}).encode()
    pieces = [bytes([byte]) for byte in text] + [b" "] * 100_000
    assert shared.post(SCALE, **body(iter(pieces))).is_success


@pytest.mark.parametrize(
    "path", ["/", "/v1/toy/none", "/v1/toy/scale/", "/v1/" + "x" * 5000, "/v1/%00", "/v1/..%2fscale"]
)
def test_an_unknown_path_is_404(shared: httpx.Client, path: str) -> None:
    refused(shared, 404, "not_found", path, json={})


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_another_method_is_405_and_told_which_there_is(shared: httpx.Client, method: str) -> None:
    response = shared.request(method, SCALE)
    assert response.status_code == 405
    assert response.json()["code"] == "method_not_allowed"
    assert response.headers["allow"] == "POST"


@pytest.mark.parametrize(("given", "kept"), [("abc-1.2_3", True), ("x" * 1000, False), ("a b", False), ("", False)])
def test_a_request_id_is_echoed_where_it_is_one_and_made_otherwise(
    shared: httpx.Client, given: str, kept: bool
) -> None:
    echoed = shared.get("/healthz/live", headers={"x-request-id": given}).headers["x-request-id"]
    assert (echoed == given) is kept
    assert echoed
