"""What the wire carries: items, parameters, meta; JSON, arrays, tables, pictures, streams."""

import base64
import io
import json

import httpx
import numpy as np
import PIL.Image
import pytest
import toy

from service.rng import normal

SCALE, COUNT = "/v1/toy/scale", "/v1/toy/count"


def start(seed: int) -> np.ndarray:
    return normal(np.array([seed]), 0, 0, toy.SHAPE)[0]


def test_an_answer_has_items_effective_parameters_and_meta(http: httpx.Client) -> None:
    answer = http.post(SCALE, json={"rows": [[0, 1, 2, 3], [4, 4, 4, 4]]}, headers={"x-request-id": "r-1"})
    body = toy.SCALE.answer.model_validate_json(answer.content)
    assert [(item.index, item.seed, item.row) for item in body.results] == [(0, 0, [1, 3, 5, 7]), (1, 1, [9] * 4)]
    assert body.parameters == {
        "model": "toy-affine@1",
        "deadline_ms": None,
        "priority": "normal",
        "on_error": "fail",
        "seed": 0,
        "seeds": None,
    }
    assert (body.meta.model.name, body.meta.model.version, body.meta.exactness) == ("toy-affine", "1", "bitwise")
    assert "onnxruntime" in body.meta.scope
    timing = body.meta.timing
    assert 0 < timing.compute_ms <= timing.total_ms
    assert timing.queue_ms + timing.compute_ms <= timing.total_ms
    assert answer.headers["x-request-id"] == "r-1"


def test_a_drawn_seed_is_echoed_and_repeats_the_answer(http: httpx.Client) -> None:
    drawn = http.post(COUNT, json={"n": 2}).json()
    seed = drawn["parameters"]["seed"]
    assert [item["seed"] for item in drawn["items"]] == [seed, seed + 1]
    again = http.post(COUNT, json={"n": 2, "seed": seed}).json()
    assert again["items"] == drawn["items"]
    assert again["meta"]["receipt"] == drawn["meta"]["receipt"]
    assert http.post(COUNT, json={"n": 2}).json()["parameters"]["seed"] != seed


def test_an_item_asked_for_alone_is_the_same_item(http: httpx.Client) -> None:
    together = http.post(COUNT, json={"seeds": [5, 3, 9]}).json()["items"]
    alone = http.post(COUNT, json={"seed": 9}).json()["items"]
    assert together[2]["image"] == alone[0]["image"]
    assert [item["seed"] for item in together] == [5, 3, 9]


def test_one_bad_item_of_many_can_be_skipped(http: httpx.Client) -> None:
    body = {"rows": [[1, 1, 1, 1], [2, 2], [3, 3, 3, 3]], "on_error": "skip"}
    answer = http.post(SCALE, json=body)
    parsed = toy.SCALE.answer.model_validate_json(answer.content)
    assert [item.index for item in parsed.items] == [0, 1, 2]
    assert parsed.items[1].error.code == "invalid_input"
    assert [item.row[0] for item in parsed.results] == [3, 7]
    array = http.post(SCALE, json=body, headers={"accept": "application/x-npy"})
    np.testing.assert_array_equal(np.load(io.BytesIO(array.content))[:, 0], [3, np.nan, 7])
    assert array.headers["fivefold-failed"] == "1"
    table = http.post(SCALE, json=body, headers={"accept": "text/csv"}).text.splitlines()
    assert [line.rpartition(",")[2] for line in table[:2]] == ["error", ""]
    assert table[2].startswith(',,,,"invalid_input: 2 numbers given')


def test_a_row_that_raises_or_is_not_finite_fails_alone(http: httpx.Client) -> None:
    rows = [[1.0] * 4, [toy.POISON] * 4, [2.0] * 4, [toy.NOT_FINITE] * 4, [3.0] * 4]
    answer = http.post(SCALE, json={"rows": rows})
    items = answer.json()["items"]
    assert answer.status_code == 200
    assert [item.get("row", [None])[0] for item in items] == [3, None, 5, None, 7]
    assert [items[index]["error"]["code"] for index in (1, 3)] == ["row_failed", "row_not_finite"]
    alone = http.post(SCALE, json={"rows": rows[1:2]})
    assert (alone.status_code, alone.json()["code"], alone.headers["x-should-retry"]) == (500, "row_failed", "false")
    assert "poison" not in alone.text


def test_arrays_are_exact_and_meta_is_in_the_headers(http: httpx.Client) -> None:
    json_answer = http.post(COUNT, json={"n": 3, "seed": 4, "steps": 2})
    answer = http.post(COUNT, json={"n": 3, "seed": 4, "steps": 2}, headers={"accept": "application/x-npy"})
    array = np.load(io.BytesIO(answer.content), allow_pickle=False)
    assert (array == np.stack([start(seed) / 4 for seed in (4, 5, 6)])).all()
    assert array.dtype == np.float32
    assert answer.headers["fivefold-model"] == "toy-affine@1"
    assert answer.headers["fivefold-seed"] == "4"
    assert answer.headers["fivefold-receipt"] == json_answer.json()["meta"]["receipt"]


@pytest.mark.parametrize("dtype", ["<f8", "<f4", ">f4", "<i2", "|u1"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_any_number_type_and_order_are_read(http: httpx.Client, dtype: str, order: str) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(np.arange(12).reshape(3, 2, 2), dtype=dtype, order=order))
    answer = http.post(
        f"{SCALE}?seeds=7&seeds=8&seeds=9", content=buffer.getvalue(), headers={"content-type": "application/x-npy"}
    )
    assert [item["row"] for item in answer.json()["items"]] == (2 * np.arange(12.0) + 1).reshape(3, 4).tolist()
    assert [item["seed"] for item in answer.json()["items"]] == [7, 8, 9]


def test_tables_come_and_go(http: httpx.Client) -> None:
    headers = {"content-type": "text/csv; charset=utf-8", "accept": "text/csv"}
    answer = http.post(SCALE, content="a,b,c,d\r\n0,1,2,3\r\n-1,.5,1e1,4\r\n", headers=headers)
    assert answer.text == "row_0,row_1,row_2,row_3\n1.0,3.0,5.0,7.0\n-1.0,2.0,21.0,9.0\n"


def test_pictures_come_and_go(http: httpx.Client) -> None:
    picture = io.BytesIO()
    PIL.Image.fromarray(np.array([[0, 255], [51, 102]], np.uint8)).save(picture, format="PNG")
    answer = http.post(SCALE, content=picture.getvalue(), headers={"content-type": "image/png"})
    assert answer.json()["items"][0]["row"] == pytest.approx([1, 3, 1.4, 1.8])
    drawn = http.post(COUNT, json={"seed": 1, "steps": 1}, headers={"accept": "image/png"})
    pixels = np.asarray(PIL.Image.open(io.BytesIO(drawn.content)))
    assert (pixels == np.rint(np.clip(start(1)[0] / 2, 0, 1) * 255)).all()
    many = http.post(COUNT, json={"n": 2}, headers={"accept": "image/png"})
    assert many.status_code == 406
    assert "2 images asked, image/png holds 1" in many.json()["detail"]


@pytest.mark.parametrize(
    ("accept", "found"),
    [
        ("*/*", "application/json"),
        ("application/x-npy;q=0.5, application/json;q=0.4", "application/x-npy"),
        ("image/*", "image/png"),
        ("text/html, */*;q=0.1", "application/json"),
    ],
)
def test_accept_is_negotiated(http: httpx.Client, accept: str, found: str) -> None:
    assert http.post(COUNT, json={}, headers={"accept": accept}).headers["content-type"].startswith(found)


def frames(text: str) -> list[tuple[str, str | None, dict]]:
    parsed = []
    for frame in text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in frame.split("\n"))
        parsed.append((fields["event"], fields.get("id"), json.loads(fields["data"])))
    return parsed


def test_a_stream_has_every_step_every_item_and_the_whole_answer(http: httpx.Client) -> None:
    request = {"n": 2, "seed": 3, "steps": 3}
    streamed = http.post(COUNT, json=request, headers={"accept": "text/event-stream"})
    assert streamed.headers["cache-control"] == "no-store"
    events = frames(streamed.text)
    chunks = [toy.ToyTick.model_validate_json(json.dumps(data)) for name, _, data in events if name == "chunk"]
    assert sorted((chunk.index, chunk.step) for chunk in chunks) == [(i, s) for i in range(2) for s in (1, 2, 3)]
    assert len({event_id for name, event_id, _ in events if name != "done"}) == 8
    assert [name for name, _, _ in events if name != "chunk"] == ["item", "item", "done"]
    assert events[-1][2]["items"] == http.post(COUNT, json=request).json()["items"]


def test_many_rows_are_sharded_and_come_back_in_order(http: httpx.Client) -> None:
    answer = http.post(COUNT, json={"n": 600, "seed": 100, "steps": 1}, headers={"accept": "application/x-npy"})
    array = np.load(io.BytesIO(answer.content))
    assert (array == np.stack([start(seed) / 2 for seed in range(100, 700)])).all()


def test_pictures_in_json_are_png(http: httpx.Client) -> None:
    item = http.post(COUNT, json={"seed": 1}).json()["items"][0]
    assert base64.b64decode(item["image"]).startswith(b"\x89PNG")


def test_models_and_openapi_describe_what_is_served(http: httpx.Client) -> None:
    (card,) = http.get("/v1/models").json()["models"]
    assert card == http.get("/v1/models/toy-affine").json()
    assert card["operations"] == [SCALE, COUNT]
    assert (card["default"], card["aliases"], card["parameters"]) == (True, ["default"], {"shape": [1, 2, 2]})
    document = http.get("/openapi.json").json()
    for operation in (toy.SCALE, toy.COUNT):
        post = document["paths"][operation.path]["post"]
        example = post["requestBody"]["content"]["application/json"]["example"]
        assert http.post(operation.path, json=example).status_code == 200
        assert set(operation.bodies) < set(post["requestBody"]["content"])
        assert set(operation.answers) <= set(post["responses"]["200"]["content"])
    text = json.dumps(document)
    for reference in set(text.split('"#/components/schemas/')[1:]):
        assert reference.split('"')[0] in document["components"]["schemas"]


def test_metrics_name_routes_and_statuses(http: httpx.Client) -> None:
    http.post(SCALE, json={"rows": [[1, 2, 3, 4]]})
    http.post(SCALE, json={})
    text = http.get("/metrics").text
    assert f'fivefold_requests_total{{route="{SCALE}",status="200"}} 1.0' in text
    assert f'fivefold_requests_total{{route="{SCALE}",status="422"}} 1.0' in text
    assert 'fivefold_step_rows_count{model="toy-affine@1"}' in text
