"""Nobody waits for ever, and nothing runs that nobody waits for: streams, deadlines, keys."""

import json
import socket
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from served import Gate, Service, serving
from waiting import until

from model_store.store import Store

SCALE, COUNT = "/v1/toy/scale", "/v1/toy/count"
STREAM = {"accept": "text/event-stream"}
ROW = {"rows": [[0, 1, 2, 3]]}
LONG = {"n": 200, "steps": 100}


def events(answer: httpx.Response) -> list[tuple[str, dict]]:
    frames = [frame.split("\n") for frame in answer.text.strip().split("\n\n")]
    return [(frame[0].removeprefix("event: "), json.loads(frame[-1].removeprefix("data: "))) for frame in frames]


def test_a_stream_whose_reader_leaves_is_cancelled(service: Service, http: httpx.Client) -> None:
    with http.stream("POST", COUNT, json=LONG, headers=STREAM) as answer:
        next(answer.iter_bytes())
    until(lambda: not service.worker.scheduler.held())
    assert service.worker.steps.rows_run < LONG["n"] * LONG["steps"]


def test_a_reader_who_does_not_read_keeps_nobody_waiting(service: Service, http: httpx.Client) -> None:
    host, port = service.url.removeprefix("http://").split(":")
    body = json.dumps(LONG)
    head = (
        f"POST {COUNT} HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\ncontent-type: application/json\r\n"
    )
    with socket.create_connection((host, int(port))) as reader:
        reader.sendall(f"{head}content-length: {len(body)}\r\n\r\n{body}".encode())
        until(lambda: bool(service.worker.scheduler.held()))
        assert all(http.post(SCALE, json=ROW, timeout=5).is_success for _ in range(20))


def test_a_stream_is_neither_cached_nor_buffered(http: httpx.Client) -> None:
    headers = http.post(COUNT, json={}, headers=STREAM).headers
    assert (headers["cache-control"], headers["x-accel-buffering"]) == ("no-store", "no")


def test_what_fails_in_a_stream_is_an_event_with_its_code(service: Service, http: httpx.Client) -> None:
    answer = http.post(COUNT, json={**LONG, "deadline_ms": 50}, headers=STREAM)
    name, end = events(answer)[-1]
    codes = {item["error"]["code"] for item in end.get("items", [end | {"error": end}]) if "error" in item}
    assert name in ("done", "error")
    assert codes == {"deadline_exceeded"}
    until(lambda: not service.worker.scheduler.held())


def test_what_a_stream_refuses_before_it_begins_has_its_status(http: httpx.Client) -> None:
    assert http.post(COUNT, json={"n": 0}, headers=STREAM).status_code == 422
    assert http.post(SCALE, json=ROW, headers=STREAM).status_code == 406


def test_a_deadline_is_kept_while_the_device_hangs(toy_store: Store) -> None:
    gate = Gate()
    with serving(toy_store, [gate.family]) as service, ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(httpx.post, service.url + SCALE, json={**ROW, "deadline_ms": 100}, timeout=10)
        assert gate.reached.wait(10)
        try:
            answer = hanging.result()
        finally:
            gate.opened.set()
        assert (answer.status_code, answer.json()["code"]) == (504, "deadline_exceeded")


@pytest.mark.parametrize(("path", "other"), [(SCALE, f"{SCALE}?seed=5"), (f"{SCALE}?seed=1", f"{SCALE}?seed=2")])
def test_one_key_with_the_same_body_and_another_query_is_a_conflict(http: httpx.Client, path: str, other: str) -> None:
    headers = {"idempotency-key": "k", "content-type": "text/csv"}
    first, second = (http.post(each, content="0,1,2,3", headers=headers) for each in (path, other))
    assert (first.status_code, second.status_code, second.json()["code"]) == (200, 409, "idempotency_conflict")


def test_one_key_at_two_operations_is_a_conflict(toy_store: Store) -> None:
    with serving(toy_store) as service, httpx.Client(base_url=service.url) as http:
        headers, body = {"idempotency-key": "k"}, {"rows": [[0, 1, 2, 3]], "seed": 1}
        assert http.post(SCALE, json=body, headers=headers).is_success
        moved = http.post(COUNT, json={"seed": 1}, headers=headers)
        assert (moved.status_code, moved.json()["code"]) == (409, "idempotency_conflict")


def test_the_parameters_say_how_many_items_there_are(http: httpx.Client) -> None:
    assert http.post(COUNT, json={"seeds": [5, 3, 9]}).json()["parameters"]["n"] == 3


@pytest.mark.parametrize("accept", ["text/csv", "application/x-npy"])
def test_an_answer_without_a_place_for_errors_points_to_one_that_has(http: httpx.Client, accept: str) -> None:
    answer = http.post(SCALE, json={"rows": [[0] * 4, [666] * 4]}, headers={"accept": accept})
    assert (answer.status_code, answer.json()["code"]) == (500, "row_failed")
    assert "1 of 2 items failed" in answer.json()["detail"]
    assert "application/json" in answer.json()["detail"]
    assert answer.headers["x-should-retry"] == "false"
