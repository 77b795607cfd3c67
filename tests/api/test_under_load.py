"""Full queues, passed deadlines, closed connections, missing workers."""

import asyncio
import json
import socket
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from served import Gate, Service, serving
from waiting import until

from model_store.store import Store
from service.api.execution.catalogue import Served

SCALE = "/v1/toy/scale"
ROW = {"rows": [[1, 2, 3, 4]]}


def raw_request(url: str, body: dict, headers: dict[str, str] | None = None) -> socket.socket:
    """A request whose connection is ours to close."""
    host, port = url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)))
    content = json.dumps(body)
    head = f"POST {SCALE} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    head += f"content-length: {len(content)}\r\n\r\n"
    connection.sendall((head + content).encode())
    return connection


def waiting(service: Service) -> int:
    return asyncio.run(service.worker.broker.depth("toy-affine@1")).waiting_jobs


def test_a_full_queue_says_when_to_come_back_and_serves_the_rest(toy_store: Store) -> None:
    gate = Gate()
    with serving(toy_store, [gate.family], max_queue_seconds=1e-9) as service, ThreadPoolExecutor(8) as pool:
        first = pool.submit(httpx.post, service.url + SCALE, json=ROW, timeout=30)
        assert gate.reached.wait(10)
        second = pool.submit(httpx.post, service.url + SCALE, json=ROW, timeout=30)
        until(lambda: waiting(service) == 1)
        refused = httpx.post(service.url + SCALE, json=ROW)
        assert (refused.status_code, refused.json()["code"]) == (429, "queue_full")
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.headers["x-should-retry"] == "true"
        gate.opened.set()
        assert first.result().status_code == second.result().status_code == 200


def test_closed_connections_cost_no_device_time(toy_store: Store) -> None:
    gate = Gate()
    with serving(toy_store, [gate.family]) as service, ThreadPoolExecutor(1) as pool:
        running = pool.submit(httpx.post, service.url + SCALE, json=ROW, timeout=30)
        assert gate.reached.wait(10)
        gone = [raw_request(service.url, ROW) for _ in range(8)]
        until(lambda: waiting(service) == 8)
        for connection in gone:
            connection.close()
        until(lambda: waiting(service) == 0)
        gate.opened.set()
        assert running.result().status_code == 200
        assert httpx.post(service.url + SCALE, json=ROW).status_code == 200
    assert gate.batches == [1, 1]


def test_a_passed_deadline_is_a_504_and_is_not_run(toy_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Served, "predicted_seconds", lambda *_: 0.0)  # as measured on a busy machine, it is refused
    gate = Gate()
    with serving(toy_store, [gate.family]) as service, ThreadPoolExecutor(1) as pool:
        running = pool.submit(httpx.post, service.url + SCALE, json=ROW, timeout=30)
        assert gate.reached.wait(10)
        late = httpx.post(service.url + SCALE, json={**ROW, "deadline_ms": 300}, timeout=30)
        assert (late.status_code, late.json()["code"]) == (504, "deadline_exceeded")
        gate.opened.set()
        assert running.result().status_code == 200
    assert gate.batches == [1]


def test_without_a_worker_it_is_live_but_not_ready(toy_store: Store) -> None:
    with serving(toy_store, working=False) as service, httpx.Client(base_url=service.url) as http:
        assert http.get("/healthz/live").status_code == 200
        ready = http.get("/healthz/ready")
        assert (ready.status_code, ready.json()["code"]) == (503, "not_ready")
        answer = http.post(SCALE, json={**ROW, "model": "toy-affine"})
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert http.post(SCALE, json=ROW).status_code == 503
        assert http.post(SCALE, json={**ROW, "model": "nobody"}).status_code == 404
        assert http.get("/v1/models").json() == {"models": []}


def test_a_key_names_one_job(toy_store: Store) -> None:
    gate = Gate()
    gate.opened.set()
    with serving(toy_store, [gate.family]) as service, httpx.Client(base_url=service.url) as http:
        key = {"idempotency-key": "k-1"}
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: http.post(SCALE, json=ROW, headers=key), range(40)))
        assert {answer.json()["meta"]["receipt"] for answer in answers} == {answers[0].json()["meta"]["receipt"]}
        assert sum(gate.batches) == 1
        other = http.post(SCALE, json={"rows": [[9, 9, 9, 9]]}, headers=key)
        assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")
        counts = [http.post("/v1/toy/count", json={}, headers={"idempotency-key": "k-2"}).json() for _ in range(2)]
        assert counts[0]["items"] == counts[1]["items"]


def test_stopping_finishes_what_is_under_way(toy_store: Store) -> None:
    gate = Gate()
    with ThreadPoolExecutor(1) as pool:
        with serving(toy_store, [gate.family]) as service:
            running = pool.submit(httpx.post, service.url + SCALE, json=ROW, timeout=30)
            assert gate.reached.wait(10)
            gate.opened.set()
        assert running.result().status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.7", "::"])
def test_it_refuses_to_listen_in_public_unless_told(host: str) -> None:
    from service.settings import Settings

    with pytest.raises(ValueError, match="FIVEFOLD_ALLOW_PUBLIC"):
        Settings(host=host)
    assert Settings(host=host, allow_public=True).host == host


def test_a_retry_after_a_cut_connection_gets_a_whole_answer(toy_store: Store) -> None:
    gate = Gate()
    key = {"idempotency-key": "k-3"}
    with serving(toy_store, [gate.family]) as service, ThreadPoolExecutor(2) as pool:
        running = pool.submit(httpx.post, service.url + SCALE, json=ROW, timeout=30)
        assert gate.reached.wait(10)
        cut = raw_request(service.url, ROW, key)
        until(lambda: waiting(service) == 1)
        joined = pool.submit(httpx.post, service.url + SCALE, json=ROW, headers=key, timeout=30)
        cut.close()
        gate.opened.set()
        assert running.result().status_code == joined.result().status_code == 200


def test_an_abandoned_job_leaves_its_key_free(toy_store: Store) -> None:
    gate = Gate()
    key = {"idempotency-key": "k-4"}
    with serving(toy_store, [gate.family]) as service, ThreadPoolExecutor(1) as pool:
        running = pool.submit(httpx.post, service.url + SCALE, json=ROW, timeout=30)
        assert gate.reached.wait(10)
        cut = raw_request(service.url, ROW, key)
        until(lambda: waiting(service) == 1)
        cut.close()
        until(lambda: waiting(service) == 0)
        gate.opened.set()
        assert running.result().status_code == 200
        assert httpx.post(service.url + SCALE, json=ROW, headers=key).status_code == 200
