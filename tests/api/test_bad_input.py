"""What a client can do wrong is refused before the queue, with what was given and what is possible."""

import io
import json

import httpx
import numpy as np
import PIL.Image
import pytest
from served import Service

SCALE, COUNT = "/v1/toy/scale", "/v1/toy/count"
ROW = [1.0, 2.0, 3.0, 4.0]
OK = {"rows": [ROW]}


def post(http: httpx.Client, path: str, body: object, content_type: str = "application/json") -> httpx.Response:
    content = body if isinstance(body, bytes) else str(body).encode()
    return http.post(path, content=content, headers={"content-type": content_type})


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def png(width: int, height: int, mode: str = "L") -> bytes:
    buffer = io.BytesIO()
    PIL.Image.new(mode, (width, height)).save(buffer, format="PNG")
    return buffer.getvalue()


def assert_refused(answer: httpx.Response, status: int, code: str, *parts: str) -> None:
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["status"]) == (status, code, status)
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["request_id"] == answer.headers["x-request-id"]
    for part in parts:
        assert part in problem["detail"]


def assert_alive(http: httpx.Client) -> None:
    assert http.post(SCALE, json=OK).json()["items"][0]["row"] == [3.0, 5.0, 7.0, 9.0]


@pytest.mark.parametrize(
    ("path", "body", "parts"),
    [
        (COUNT, '{"surprise": 1}', ("surprise", "the fields are deadline_ms, model, n,")),
        (COUNT, '{"n": 0}', ("n: 0 given", "greater than or equal to 1")),
        (COUNT, '{"n": -1}', ("n: -1 given",)),
        (COUNT, '{"n": 1000000000}', ("1000000000 given", "4096")),
        (COUNT, '{"n": 1001}', ("1001 items given", "1000")),
        (COUNT, '{"n": "3"}', ("'3' given", "integer")),
        (COUNT, '{"n": 1.5}', ("1.5 given",)),
        (COUNT, '{"n": true}', ("True given",)),
        (COUNT, '{"steps": 1000000000}', ("1000000000 given", "100")),
        (COUNT, '{"steps": 0}', ("steps: 0 given",)),
        (COUNT, '{"seed": -1}', ("seed: -1 given",)),
        (COUNT, '{"seed": 9007199254740992}', ("9007199254740992",)),
        (COUNT, '{"seeds": []}', ("seeds",)),
        (COUNT, '{"n": 3, "seeds": [1, 2]}', ("2 seeds given for 3 items",)),
        (COUNT, '{"priority": "now"}', ("'now' given", "interactive")),
        (COUNT, '{"deadline_ms": 0}', ("0 given",)),
        (SCALE, '{"rows": [[NaN, 1, 2, 3]]}', ("rows.0.0", "finite")),
        (SCALE, '{"rows": [[Infinity, 1, 2, 3]]}', ("rows.0.0", "finite")),
        (SCALE, '{"rows": [[1e999, 1, 2, 3]]}', ("rows.0.0", "finite")),
        (SCALE, '{"rows": [["inf", 1, 2, 3]]}', ("rows.0.0", "'inf' given")),
        (SCALE, '{"rows": [[null, 1, 2, 3]]}', ("rows.0.0",)),
        (SCALE, '{"rows": []}', ("rows", "at least 1")),
        (SCALE, '{"rows": [[1, 2, 3, 4], [1, 2, 3]]}', ("1 of 2 items", "3 numbers given, 4 expected")),
        (SCALE, '{"rows": [1, 2]}', ("rows.0",)),
        (SCALE, "{}", ("neither images nor rows",)),
        (SCALE, '{"images": ["***"]}', ("images.0", "base64")),
        (SCALE, "{", ("Invalid JSON",)),
        (SCALE, "[]", ()),
        (SCALE, "null", ()),
        (SCALE, '"\\ud800"', ("Invalid JSON",)),
        (SCALE, '{"model": "\\u0000", "rows": [[1, 2, 3, 4]]}', ()),
        (SCALE, "[" * 10_000, ("Invalid JSON",)),
        (SCALE, '{"rows": [[' + "9" * 5000 + ", 1, 2, 3]]}", ()),
    ],
)
def test_json_that_cannot_be_run_is_refused(http: httpx.Client, path: str, body: str, parts: tuple[str, ...]) -> None:
    answer = post(http, path, body)
    assert answer.status_code in (404, 422)
    if answer.status_code == 422:
        assert_refused(answer, 422, "invalid_input", *parts)
    assert_alive(http)


def test_at_most_ten_places_are_reported(http: httpx.Client) -> None:
    answer = http.post(SCALE, json={"rows": [[1.0]] * 50})
    assert_refused(answer, 422, "invalid_input", "50 of 50 items")
    assert [error["place"] for error in answer.json()["errors"]] == [f"rows.{index}" for index in range(10)]


def test_a_word_in_a_table_is_named_by_row_and_column(http: httpx.Client) -> None:
    lines = ["1,2,3,4"] * 20
    lines[16] = "1,2,three,4"
    answer = post(http, SCALE, "\n".join(["a,b,c,d", *lines]), "text/csv")
    assert_refused(answer, 422, "invalid_input", "row 17 column 3 (c): 'three' given, a number expected")
    assert answer.json()["errors"][0]["place"] == "rows.16.2"


@pytest.mark.parametrize("cell", ["nan", "inf", "1_0", "0x1", "", "1e999"])
def test_a_table_holds_finite_decimal_numbers_only(http: httpx.Client, cell: str) -> None:
    assert_refused(post(http, SCALE, f"1,2,3,4\n1,2,{cell},4\n", "text/csv"), 422, "invalid_input")


@pytest.mark.parametrize(
    ("body", "part"),
    [
        (b"not numpy", "not an .npy file"),
        (npy(np.zeros((2, 4)))[:-8], "56 bytes of data given"),
        (npy(np.zeros((0, 4))), "n of 1 or more"),
        (npy(np.float64(1.0)), "n of 1 or more"),
        (npy(np.zeros((1, 4), bool)), "bool given"),
        (npy(np.array([["a"] * 4])), "floats or integers expected"),
        (npy(np.full((1, 4), np.nan)), "finite"),
        (npy(np.zeros((1, 5))), "5 numbers given, 4 expected"),
        (npy(np.zeros((2, 4))).replace(b"(2, 4)", b"(9**9, 4)"), "not an .npy file"),
    ],
)
def test_arrays_that_cannot_be_run_are_refused(http: httpx.Client, body: bytes, part: str) -> None:
    assert_refused(post(http, SCALE, body, "application/x-npy"), 422, "invalid_input", part)
    assert_alive(http)


def test_pickles_are_refused(http: httpx.Client) -> None:
    body = npy(np.zeros((1, 4))).replace(b"'<f8'", b"'|O' ")
    assert_refused(post(http, SCALE, body, "application/x-npy"), 422, "invalid_input", "object given")


@pytest.mark.parametrize(
    ("body", "part"),
    [
        (png(2, 2)[:40], "not a readable"),
        (b"GIF89a", "not a readable"),
        (png(3, 2), "3 x 2 pixels given, 2 x 2 expected"),
        (png(9000, 9000), "9000 x 9000 pixels given, 2 x 2 expected"),
        (png(2, 2, "RGBA"), "a transparent image given, an opaque one expected"),
    ],
)
def test_pictures_that_cannot_be_run_are_refused(http: httpx.Client, body: bytes, part: str) -> None:
    assert_refused(post(http, SCALE, body, "image/png"), 422, "invalid_input", part)
    assert_alive(http)


def test_other_media_types_are_refused_with_the_list(http: httpx.Client) -> None:
    assert_refused(post(http, SCALE, "x", "text/plain"), 415, "unsupported_media_type", "text/csv", "image/png")
    assert_refused(post(http, COUNT, npy(np.zeros(4)), "application/x-npy"), 415, "unsupported_media_type")
    answer = http.post(SCALE, json=OK, headers={"accept": "image/gif"})
    assert_refused(answer, 406, "not_acceptable", "image/gif", "application/x-npy")
    answer = http.post(SCALE, json=OK, headers={"accept": "text/event-stream"})
    assert_refused(answer, 406, "not_acceptable")


def test_query_parameters_do_not_mix_with_json(http: httpx.Client) -> None:
    assert_refused(http.post(f"{SCALE}?seed=1", json=OK), 422, "invalid_input", "put them into the body")


@pytest.mark.parametrize("model", ["../x", "nobody", "toy-affine@7", "", "a" * 10_000])
def test_unknown_models_are_not_found(http: httpx.Client, model: str) -> None:
    assert_refused(http.post(SCALE, json={**OK, "model": model}), 404, "unknown_model")
    assert http.get("/v1/models/nobody").status_code == 404


def test_unknown_paths_and_methods(http: httpx.Client) -> None:
    assert_refused(http.get("/v1/nothing"), 404, "not_found", "/v1/nothing")
    assert_refused(http.get(SCALE), 405, "method_not_allowed", "GET")


def test_a_body_over_the_limit_is_refused_with_and_without_its_length(http: httpx.Client) -> None:
    body = b" " * 100_001
    assert_refused(post(http, SCALE, body), 413, "payload_too_large", "100001 bytes", "100000")
    pieces = (b" " * 1000 for _ in range(101))
    answer = http.post(SCALE, content=pieces, headers={"content-type": "application/json"})
    assert_refused(answer, 413, "payload_too_large", "100000")
    assert_alive(http)


def test_a_body_in_a_thousand_pieces_is_read(http: httpx.Client) -> None:
    pieces = (bytes([byte]) for byte in json.dumps(OK).encode())
    assert http.post(SCALE, content=pieces, headers={"content-type": "application/json"}).status_code == 200


def test_strange_request_ids_are_replaced(http: httpx.Client) -> None:
    assert http.get("/healthz/live", headers={"x-request-id": "mine-1"}).headers["x-request-id"] == "mine-1"
    for strange in ("x" * 65, "a b", ""):
        assert http.get("/healthz/live", headers={"x-request-id": strange}).headers["x-request-id"] != strange


def test_nothing_of_this_reached_the_device(service: Service, http: httpx.Client) -> None:
    ran = service.worker.steps.rows_run
    test_at_most_ten_places_are_reported(http)
    assert service.worker.steps.rows_run == ran


def test_an_unreadable_picture_tells_nothing_of_the_inside(http: httpx.Client) -> None:
    detail = post(http, SCALE, b"GIF89a", "image/png").json()["detail"]
    assert "6 bytes that are no PNG, JPEG, WEBP" in detail
    assert "0x" not in detail


def test_every_item_has_a_seed_that_can_be_asked_for_alone(http: httpx.Client) -> None:
    last = 2**53 - 1
    assert http.post(COUNT, json={"seed": last}).json()["items"][0]["seed"] == last
    assert_refused(http.post(COUNT, json={"seed": last, "n": 2}), 422, "invalid_input", str(last), "for 2 items")
