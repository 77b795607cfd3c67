"""A request as a job: the same answer later, as every media type, on any replica, and only for its own tenant."""

import asyncio
import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import httpx
import numpy as np
import pytest
import shipped
import toy
from keyed import by_key, entry, keys_file
from served import Gate, Service, serving
from waiting import until

from fivefold.jobs import JobDocument
from model_store.store import Store
from service.api.execution.job_ids import JobId, new_job_id
from service.families.pipeline import FieldColumns, Results
from service.families.registry import FAMILIES

SCALE, COUNT, JOBS = "/v1/toy/scale", "/v1/toy/count", "/v1/jobs"
ASYNC = {"prefer": "respond-async"}
ROW = {"rows": [[0, 1, 2, 3]]}
NEVER = "toy-affine@1-" + "0" * 32


def submit(http: httpx.Client, path: str, body: dict, **headers: str) -> str:
    """The location of a job."""
    answer = http.post(path, json=body, headers=ASYNC | headers)
    assert (answer.status_code, answer.headers["preference-applied"]) == (202, "respond-async"), answer.text
    assert answer.headers["location"] == f"{JOBS}/{JobDocument.model_validate_json(answer.content).id}"
    return answer.headers["location"]


def finished(http: httpx.Client, job: str) -> dict:
    """The document of a job once it has ended: its events are followed until then."""
    assert http.get(f"{job}/events").is_success
    return http.get(job).json()


def without_timing(answer: dict) -> dict:
    return {**answer, "meta": {**answer["meta"], "timing": None}}


@pytest.fixture
def gated(toy_store: Store) -> Iterator[tuple[Gate, Service, httpx.Client]]:
    """A service whose scale operation waits for its gate."""
    gate = Gate()
    with serving(toy_store, [gate.family]) as service, httpx.Client(base_url=service.url, timeout=30) as http:
        yield gate, service, http
        gate.opened.set()


# The answer of a job is the synchronous answer


@pytest.mark.parametrize(
    ("path", "body", "accepts"),
    [
        (SCALE, {"rows": [[1, 2, 3, 4], [4] * 4], "seed": 5}, ("application/x-npy", "text/csv")),
        (SCALE, {"rows": [[1.0] * 4, [toy.POISON] * 4, [2.0] * 4]}, ()),
        (SCALE, {"rows": [[1], [2] * 4], "on_error": "skip"}, ()),
        (COUNT, {"n": 1, "seed": 3, "steps": 5}, ("application/x-npy", "image/png")),
        (COUNT, {"seeds": [9, 2, 5], "steps": 2}, ("application/x-npy",)),
        (COUNT, {"n": 600, "seed": 100, "steps": 1}, ("application/x-npy",)),
    ],
)
def test_the_result_of_a_job_is_the_answer_of_the_call(
    http: httpx.Client, path: str, body: dict, accepts: tuple[str, ...]
) -> None:
    called, job = http.post(path, json=body).json(), submit(http, path, body)
    document = finished(http, job)
    parsed = JobDocument.model_validate(document)
    assert (parsed.state, parsed.progress, parsed.rows, parsed.error) == ("done", 1.0, parsed.rows_finished, None)
    assert without_timing(document["result"]) == without_timing(called)
    for accept in accepts:
        direct, later = (
            http.post(path, json=body, headers={"accept": accept}),
            http.get(job, headers={"accept": accept}),
        )
        assert later.content == direct.content
        assert later.headers["content-type"] == direct.headers["content-type"]
        assert later.headers["fivefold-receipt"] == direct.headers["fivefold-receipt"]
    assert http.get(job).json() == document


@pytest.mark.parametrize(
    ("model", "operation"),
    [("diffusion-fashion", "sample"), ("transformer-english", "generate"), ("vae-shuttle", "elbo")],
)
def test_real_models_answer_jobs_as_they_answer_calls(shipped_http: httpx.Client, model: str, operation: str) -> None:
    path = f"/v1/{model.partition('-')[0]}/{operation}"
    for request in shipped.REQUESTS[model]()[operation][:2]:
        body = {"seed": 7} | request.model_dump(by_alias=True, mode="json", exclude_unset=True)
        called = shipped_http.post(path, json=body).json()
        result = finished(shipped_http, submit(shipped_http, path, body))["result"]
        assert without_timing(result) == without_timing(called)


@pytest.fixture(scope="module")
def shipped_http() -> Iterator[httpx.Client]:
    models = ("diffusion-fashion", "transformer-english", "vae-shuttle")
    with serving(Store(), FAMILIES, models=models) as service, httpx.Client(base_url=service.url, timeout=30) as http:
        yield http


def test_bodies_of_any_media_type_become_jobs(http: httpx.Client) -> None:
    headers = {"content-type": "text/csv"}
    job = http.post(f"{SCALE}?seed=7", content="0,1,2,3\n", headers=headers | ASYNC).headers["location"]
    (item,) = finished(http, job)["result"]["items"]
    assert (item["seed"], item["row"]) == (7, [1, 3, 5, 7])


@pytest.mark.parametrize("bad", ["0,,2,3", "0,x,2,3", "0,1"])
def test_a_row_that_cannot_be_read_is_an_error_of_the_stored_job_too(http: httpx.Client, bad: str) -> None:
    headers = {"content-type": "text/csv"}
    answer = http.post(f"{SCALE}?on_error=skip", content=f"0,1,2,3\n{bad}\n", headers=headers | ASYNC)
    first, second = finished(http, answer.headers["location"])["result"]["items"]
    assert first["row"] == [1, 3, 5, 7]
    assert second["error"]["code"] == "invalid_input"


def test_a_drawn_seed_is_kept_with_the_job(http: httpx.Client) -> None:
    result = finished(http, submit(http, COUNT, {"n": 2}))["result"]
    assert [item["seed"] - result["parameters"]["seed"] for item in result["items"]] == [0, 1]


def test_an_answer_is_the_same_whenever_it_is_asked_for(http: httpx.Client) -> None:
    document = finished(http, submit(http, COUNT, {"n": 3, "seed": 1}))
    timing = document["result"]["meta"]["timing"]
    assert 0 < timing["compute_ms"] <= timing["total_ms"]
    assert timing["queue_ms"] + timing["compute_ms"] <= timing["total_ms"] + 1e-6
    submitted, ended = (datetime.fromisoformat(document[name]) for name in ("submitted_at", "ended_at"))
    assert timing["total_ms"] >= (ended - submitted).total_seconds() * 1e3 - 1
    assert http.get(f"{JOBS}/{document['id']}").json() == document


def test_a_job_whose_rows_all_fail_has_its_error_and_no_result(http: httpx.Client) -> None:
    job = submit(http, SCALE, {"rows": [[toy.POISON] * 4]})
    document = finished(http, job)
    assert (document["state"], document["error"]["code"], document["result"]) == ("failed", "row_failed", None)
    problem = http.get(job, headers={"accept": "application/x-npy"})
    assert (problem.status_code, problem.json()["code"]) == (500, "row_failed")


@pytest.mark.parametrize("prefer", ["respond-async", "Respond-Async, wait=10", "wait=5;x=1 , respond-async; foo=bar"])
def test_the_preference_is_read_as_rfc_7240_says(http: httpx.Client, prefer: str) -> None:
    assert http.post(COUNT, json={}, headers={"prefer": prefer}).status_code == 202


@pytest.mark.parametrize("prefer", ["", "return=minimal", "respond-asynchronously", "wait=10", 'x="respond-async'])
def test_other_preferences_change_nothing(http: httpx.Client, prefer: str) -> None:
    answer = http.post(COUNT, json={}, headers={"prefer": prefer})
    assert answer.status_code == 200
    assert "preference-applied" not in answer.headers


def test_what_is_refused_is_refused_before_there_is_a_job(http: httpx.Client) -> None:
    assert http.post(COUNT, json={"n": 0}, headers=ASYNC).status_code == 422
    assert http.post(COUNT, json={}, headers=ASYNC | {"accept": "text/html"}).status_code == 406
    assert http.get(JOBS).json() == {"jobs": [], "next": None}


# While it runs


def test_a_job_tells_where_it_is_and_what_is_before_it(gated: tuple[Gate, Service, httpx.Client]) -> None:
    gate, _, http = gated
    running = submit(http, SCALE, ROW)
    assert gate.reached.wait(10)
    waiting = [submit(http, SCALE, ROW) for _ in range(2)]
    until(lambda: http.get(running).json()["state"] == "running")
    documents = [http.get(job).json() for job in waiting]
    assert [document["state"] for document in documents] == ["queued"] * 2
    assert [document["position"] for document in documents] == [0, 1]
    assert documents[1]["start_in_seconds"] > 0
    asked_for_bytes = http.get(running, headers={"accept": "application/x-npy"})
    assert (asked_for_bytes.status_code, asked_for_bytes.headers["retry-after"]) == (202, "1")
    assert asked_for_bytes.json() == http.get(running).json()
    gate.opened.set()
    assert finished(http, waiting[1])["state"] == "done"


def test_a_job_outlives_the_connection_that_asked_for_it(gated: tuple[Gate, Service, httpx.Client]) -> None:
    gate, service, http = gated
    with httpx.Client(base_url=service.url) as other:
        job = submit(other, SCALE, ROW)
        with other.stream("GET", f"{job}/events"):
            assert gate.reached.wait(10)
    gate.opened.set()
    assert finished(http, job)["state"] == "done"


def test_a_cancelled_job_leaves_the_device_and_stays_cancelled(http: httpx.Client, service: Service) -> None:
    job = submit(http, COUNT, {"n": 600, "steps": 100})
    until(lambda: http.get(job).json()["state"] == "running")
    assert http.delete(job).json()["state"] == "cancelled"
    until(lambda: not service.worker.scheduler.held())
    assert service.worker.steps.rows_run < 600 * 100
    document = http.get(job).json()
    assert document["state"] == "cancelled"
    assert (document["result"] is None) is (document["error"] is not None)
    assert http.delete(job).json() == document


def test_cancelling_what_has_ended_changes_nothing(http: httpx.Client) -> None:
    job = submit(http, COUNT, {"seed": 1})
    document = finished(http, job)
    again = http.delete(job)
    assert (again.status_code, again.json()) == (200, document)


def test_a_deadline_ends_a_job(gated: tuple[Gate, Service, httpx.Client]) -> None:
    gate, _, http = gated
    submit(http, SCALE, ROW)
    assert gate.reached.wait(10)
    job = submit(http, SCALE, {**ROW, "deadline_ms": 100})
    until(lambda: http.get(job).json()["state"] == "expired")
    assert http.get(job).json()["error"]["code"] == "deadline_exceeded"


# Shards


def test_many_rows_are_one_job(http: httpx.Client) -> None:
    document = finished(http, submit(http, COUNT, {"n": 700, "seed": 100, "steps": 2}))
    assert (document["rows"], document["rows_finished"], document["progress"]) == (700, 700, 1.0)
    assert [item["seed"] for item in document["result"]["items"]] == list(range(100, 800))
    assert [job["id"] for job in http.get(JOBS).json()["jobs"]] == [document["id"]]
    assert JobId.parse(document["id"]).shards == 3


def test_where_one_shard_is_refused_no_shard_stays(toy_store: Store) -> None:
    gate = Gate()
    with (
        serving(toy_store, [gate.family], max_queued_jobs=2) as service,
        httpx.Client(base_url=service.url, timeout=30) as http,
    ):
        submit(http, SCALE, ROW)
        assert gate.reached.wait(10)
        submit(http, SCALE, ROW)
        refused = http.post(SCALE, json={"rows": [[0, 1, 2, 3]] * 300}, headers=ASYNC)
        assert (refused.status_code, refused.json()["code"]) == (429, "queue_full")
        assert asyncio.run(service.worker.broker.depth("toy-affine@1")).waiting_jobs == 1
        gate.opened.set()


@pytest.mark.parametrize(
    ("limits", "what"),
    [
        ({"max_queue_seconds": 1e-9}, "s of work (jobs: 2), the queue holds 1e-09 s"),
        ({"max_queued_jobs": 1}, "(jobs: 2), the queue holds 60 s (jobs: 1)"),
        ({"max_queue_bytes": 10_000}, "bytes of the queue, which holds 10000"),
    ],
)
@pytest.mark.parametrize("headers", [{}, ASYNC])
def test_what_an_empty_queue_does_not_hold_is_refused_for_good(
    toy_store: Store, limits: dict[str, float], what: str, headers: dict[str, str]
) -> None:
    with serving(toy_store, **limits) as service:
        refused = httpx.post(service.url + SCALE, json={"rows": [[0, 1, 2, 3]] * 300}, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid_input")
        assert what in refused.json()["detail"]
        assert "retry-after" not in refused.headers
        assert httpx.post(service.url + SCALE, json=ROW).status_code == 200


@pytest.mark.parametrize("text", ["", "x", "m@1", "m@1-", "m-" + "0" * 32, "m@1-" + "0" * 32 + "x0", "m@1-" + "g" * 32])
def test_what_is_no_id_is_none(text: str) -> None:
    assert JobId.parse(text) is None


@pytest.mark.parametrize("shards", [1, 2, 16, 9999])
def test_an_id_says_its_model_and_its_shards(shards: int) -> None:
    found = JobId.parse(new_job_id("flow-shuttle@1-torchscript", shards))
    assert (found.model, found.shards) == ("flow-shuttle@1-torchscript", shards)
    assert len(set(found.shard_ids)) == shards


# Idempotency keys


def test_one_key_is_one_job_however_often_and_however_it_is_asked(http: httpx.Client, service: Service) -> None:
    body = {"n": 300, "steps": 2}
    with ThreadPoolExecutor(8) as pool:
        jobs = set(pool.map(lambda _: submit(http, COUNT, body, **{"idempotency-key": "k"}), range(16)))
    (job,) = jobs
    result = finished(http, job)["result"]
    called = http.post(COUNT, json=body, headers={"idempotency-key": "k"}).json()
    assert called["items"] == result["items"]
    assert service.worker.steps.rows_run == 600
    other = http.post(COUNT, json={"n": 1}, headers=ASYNC | {"idempotency-key": "k"})
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")


def test_a_call_that_leaves_does_not_take_the_job_of_its_key_along(gated: tuple[Gate, Service, httpx.Client]) -> None:
    gate, _, http = gated
    key = {"idempotency-key": "k"}
    submit(http, SCALE, {"rows": [[9] * 4]})
    assert gate.reached.wait(10)
    with pytest.raises(httpx.ReadTimeout):
        http.post(SCALE, json=ROW, headers=key, timeout=0.2)
    job = submit(http, SCALE, ROW, **key)
    with pytest.raises(httpx.ReadTimeout):
        http.post(SCALE, json=ROW, headers=key, timeout=0.2)
    gate.opened.set()
    assert finished(http, job)["state"] == "done"


@pytest.mark.parametrize(("length", "code"), [(255, 200), (256, 422), (20_000, 422), (50_000, 431)])
def test_a_key_that_is_kept_with_a_job_is_bounded(http: httpx.Client, length: int, code: int) -> None:
    answer = http.post(SCALE, json=ROW, headers={"idempotency-key": "k" * length})
    assert answer.status_code == code
    if code == 422:
        assert answer.json()["errors"][0]["place"] == "idempotency-key"
        assert f"a key of {length} characters given, at most 255" in answer.json()["detail"]


def test_the_key_of_a_cancelled_job_is_free(http: httpx.Client) -> None:
    body, key = {"n": 600, "steps": 100}, {"idempotency-key": "k"}
    first = submit(http, COUNT, body, **key)
    assert http.delete(first).json()["state"] == "cancelled"
    again = submit(http, COUNT, body, **key)
    assert again != first
    http.delete(again)


# Listing


def test_jobs_are_listed_in_pages_newest_first(http: httpx.Client) -> None:
    jobs = [submit(http, COUNT, {"steps": 1}).rpartition("/")[2] for _ in range(130)]
    http.post(COUNT, json={})  # is no job of the list
    seen, cursor = [], None
    while cursor is not None or not seen:
        page = http.get(JOBS, params={"cursor": cursor} if cursor else {}).json()
        assert all(job["result"] is None for job in page["jobs"])
        seen += [job["id"] for job in page["jobs"]]
        cursor = page["next"]
    assert seen == jobs[::-1]


@pytest.mark.parametrize("cursor", ["x", "-1", "1.5", "", "٣", "9" * 5000, "+inf", "1 2", "\0"])
def test_a_cursor_that_is_none_is_refused_with_the_way_out(http: httpx.Client, cursor: str) -> None:
    answer = http.get(JOBS, params={"cursor": cursor})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
    assert "take it from `next`" in answer.json()["detail"]


# Whose job it is (P14)


def routes(job: str) -> list[tuple[str, str, dict[str, str]]]:
    accepts = ({}, {"accept": "application/x-npy"})
    own = [("GET", job, headers) for headers in accepts] + [("DELETE", job, {})]
    return own + [
        ("GET", f"{job}/events", headers) for headers in ({}, {"last-event-id": "0.0"}, {"last-event-id": "x"})
    ]


def test_a_job_of_another_tenant_is_a_job_that_never_was(toy_store: Store, tmp_path: Path) -> None:
    keys = keys_file(tmp_path, entry("a", "ff_a"), entry("b", "ff_b"), entry("b", "ff_b2", ("score", "admin")))
    with serving(toy_store, keys_file=keys) as service, httpx.Client(base_url=service.url, timeout=30) as http:
        job = submit(http, COUNT, {"seed": 1}, **by_key("ff_a"))
        assert http.get(f"{job}/events", headers=by_key("ff_a")).is_success
        for key in ("ff_b", "ff_b2"):
            for (method, path, headers), (_, never, _) in zip(routes(job), routes(f"{JOBS}/{NEVER}"), strict=True):
                other, none = (http.request(method, p, headers=headers | by_key(key)) for p in (path, never))
                assert (other.status_code, other.json()["code"]) == (404, "not_found"), (method, path, headers)
                texts = [answer.json()["detail"].split("'") for answer in (other, none)]
                assert texts[0][0::2] == texts[1][0::2]
                assert other.json().keys() == none.json().keys()
            assert http.get(JOBS, headers=by_key(key)).json()["jobs"] == []
        for method, path, headers in routes(job):
            assert http.request(method, path, headers=headers).status_code == 401
        assert http.get(job, headers=by_key("ff_a")).json()["state"] == "done"


@pytest.mark.parametrize(
    "garbled",
    [
        NEVER,
        f"{NEVER}x9999",
        f"{NEVER}.1",
        "x",
        "%00",
        "a%2Fb",
        "..%2F..",
        "%F0%9F%98%80",
        "*",
        "{}",
        "x" * 5000,
        "'%0A",
    ],
)
def test_an_unknown_or_garbled_id_is_not_found_everywhere(http: httpx.Client, garbled: str) -> None:
    for method, path, headers in routes(f"{JOBS}/{garbled}"):
        answer = http.request(method, path, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
        assert len(answer.json()["detail"]) < 400


def test_the_shards_of_a_job_are_no_jobs_of_their_own(http: httpx.Client) -> None:
    job = submit(http, COUNT, {"n": 300, "steps": 1})
    assert http.get(f"{job}.1").status_code == 404


def test_a_job_that_is_forgotten_is_not_found(http: httpx.Client, service: Service) -> None:
    job = submit(http, COUNT, {"seed": 1})
    finished(http, job)
    service.worker.broker.clock = lambda: 1e11
    assert http.get(job).status_code == 404


def test_a_version_that_is_no_longer_served_still_renders_its_answers(http: httpx.Client) -> None:
    job = submit(http, COUNT, {"seed": 1})
    document = finished(http, job)
    assert http.post("/v1/admin/models/toy-affine@1/unload").status_code == 202
    until(lambda: http.get("/v1/models").json()["models"] == [])
    assert http.get(job).json() == document


def test_an_operation_that_needs_no_device_answers_at_once(toy_store: Store) -> None:
    class Echo(toy.ScalePipeline):
        operation = replace(toy.SCALE, name="echo")
        kind = None

        def render(self, request: toy.ToyScaleRequest, results: Results, model: object) -> FieldColumns:
            return {"row": results.columns["x"].reshape(len(results.rows), -1)}

    family = toy.Family("toy", (*toy.TOY.pipelines, Echo()), toy.open_sessions)
    with serving(toy_store, (family,)) as service:
        answer = httpx.post(f"{service.url}/v1/toy/echo", json=ROW, headers=ASYNC)
    assert answer.status_code == 200
    assert "preference-applied" not in answer.headers
    assert answer.json()["items"][0]["row"] == [0, 1, 2, 3]


def test_arrays_of_a_job_are_the_exact_numbers(http: httpx.Client) -> None:
    job = submit(http, COUNT, {"n": 3, "seed": 4, "steps": 2})
    finished(http, job)
    array = np.load(io.BytesIO(http.get(job, headers={"accept": "application/x-npy"}).content), allow_pickle=False)
    assert array.shape == (3, *toy.SHAPE)


def test_metrics_name_the_routes_of_jobs_and_not_the_jobs(http: httpx.Client) -> None:
    job = submit(http, COUNT, {"seed": 1})
    finished(http, job)
    metrics = http.get("/metrics").text
    assert 'fivefold_requests_total{route="/v1/jobs/{job_id}",status="200"} 1.0' in metrics
    assert f'fivefold_requests_total{{route="{COUNT}",status="202"}} 1.0' in metrics
    assert job.rpartition("/")[2] not in metrics


def test_the_openapi_document_describes_the_jobs(http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()
    assert {"get", "delete"} <= document["paths"][JOBS + "/{job_id}"].keys()
    assert "get" in document["paths"][JOBS]
    stream = document["paths"][JOBS + "/{job_id}/events"]["get"]
    assert "text/event-stream" in stream["responses"]["200"]["content"]
    assert "last-event-id" in [parameter["name"] for parameter in stream["parameters"]]
    accepted = document["paths"][COUNT]["post"]["responses"]["202"]
    assert accepted["content"]["application/json"]["schema"]["$ref"].endswith("/JobDocument")
    assert "Prefer" in json.dumps(document["paths"][COUNT]["post"]["parameters"])
