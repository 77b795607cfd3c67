"""An operation that needs no device: its rows are rendered as they were prepared, past queue and worker."""

from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest
import toy
from served import Service, serving

from model_store.store import Model, Store
from service.families.pipeline import FieldColumns, Results
from service.families.registry import Family

PATH = "/v1/toy/echo"


class EchoPipeline(toy.ScalePipeline):
    operation = replace(toy.SCALE, name="echo", summary="The row itself")
    kind = None

    def render(self, request: toy.ToyScaleRequest, results: Results, model: Model) -> FieldColumns:
        return {"row": results.columns["x"].reshape(len(results.rows), -1)}


@pytest.fixture
def service(toy_store: Store) -> Iterator[Service]:
    family = Family("toy", (*toy.TOY.pipelines, EchoPipeline()), toy.open_sessions)
    with serving(toy_store, (family,)) as running:
        yield running


def test_it_answers_like_any_other_and_asks_no_worker(http: httpx.Client, service: Service) -> None:
    rows = [[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]
    headers = {"idempotency-key": "once"}
    first, again = (http.post(PATH, json={"rows": rows, "seed": 5}, headers=headers).json() for _ in range(2))
    assert [(item["index"], item["seed"], item["row"]) for item in first["items"]] == [(0, 5, rows[0]), (1, 6, rows[1])]
    assert first["meta"]["receipt"] == again["meta"]["receipt"]
    assert first["meta"]["timing"]["compute_ms"] == 0
    assert first["parameters"]["seed"] == 5
    assert http.post(PATH, json={"rows": rows}, headers={"accept": "text/csv"}).text.splitlines()[1:] == [
        "1.0,2.0,3.0,4.0",
        "5.0,6.0,7.0,8.0",
    ]
    assert service.worker.steps.rows_run == 0


def test_bad_items_are_refused_or_skipped(http: httpx.Client) -> None:
    rows = [[1.0], [1.0, 2.0, 3.0, 4.0]]
    refused = http.post(PATH, json={"rows": rows})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_input")
    items = http.post(PATH, json={"rows": rows, "on_error": "skip"}).json()["items"]
    assert items[0]["error"]["code"] == "invalid_input"
    assert items[1]["row"] == rows[1]


def test_its_neighbours_still_run_on_the_device(http: httpx.Client, service: Service) -> None:
    assert http.post("/v1/toy/scale", json={"rows": [[0.0] * 4]}).json()["items"][0]["row"] == [1.0] * 4
    assert service.worker.steps.rows_run == 1
