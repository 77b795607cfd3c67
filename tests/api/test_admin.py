"""What an operator sees and orders: the queue, dead jobs, workers, models, aliases."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import toy
from keyed import by_key, entry, keys_file
from served import Gate, Service, serving
from waiting import until

from fivefold.jobs import ControlDocument, DeadJobList, QueueDocument
from model_store.store import Store
from service.api.access.keys import KEY_SCOPES
from service.api.app import create_app
from service.settings import Settings
from service.telemetry import Metrics

SCALE, COUNT, ADMIN = "/v1/toy/scale", "/v1/toy/count", "/v1/admin"
ROW, ASYNC = {"rows": [[0, 1, 2, 3]]}, {"prefer": "respond-async"}
ROUTES = [
    ("GET", "/queue"),
    ("GET", "/dead"),
    ("POST", "/dead/x/replay"),
    ("POST", "/drain"),
    ("POST", "/workers/x/drain"),
    ("POST", "/models/toy-affine/load"),
    ("POST", "/models/toy-affine/unload"),
    ("POST", "/models/toy-affine/alias"),
]


@pytest.fixture
def two_versions(toy_store: Store) -> Store:
    toy.publish_toy(toy_store, version="2")
    return toy_store


def default_version(http: httpx.Client, model: str = "toy-affine") -> str:
    return http.post(SCALE, json={**ROW, "model": model}).json()["meta"]["model"]["version"]


def refused(answer: httpx.Response, status: int, code: str, *parts: str) -> None:
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code), answer.text
    for part in parts:
        assert part in problem["detail"]


# The queue


def test_the_queue_shows_what_waits_and_who_works(toy_store: Store) -> None:
    gate = Gate()
    with serving(toy_store, [gate.family]) as service, httpx.Client(base_url=service.url) as http:
        jobs = [http.post(SCALE, json=ROW, headers=ASYNC).headers["location"]]
        assert gate.reached.wait(10)
        jobs += [http.post(SCALE, json=ROW, headers=ASYNC).headers["location"] for _ in range(2)]
        queue = QueueDocument.model_validate_json(http.get(f"{ADMIN}/queue").content)
        (model,), (worker,) = queue.models, queue.workers
        assert (model.model, model.waiting_jobs, model.running_jobs) == ("toy-affine@1", 2, 1)
        assert model.predicted_seconds > 0
        assert (worker.id, worker.models, worker.device) == (service.worker.id, ["toy-affine@1"], "cpu")
        assert 0 <= worker.seconds_since_heartbeat < 60
        metrics = http.get("/metrics").text
        (line,) = [line for line in metrics.splitlines() if line.startswith("fivefold_queued_seconds{")]
        assert line.startswith('fivefold_queued_seconds{model="toy-affine@1"} ')
        assert float(line.split()[1]) == pytest.approx(model.predicted_seconds)
        assert "fivefold_workers 1.0" in metrics
        gate.opened.set()
        for job in jobs:
            http.get(f"{job}/events")
        queue = QueueDocument.model_validate_json(http.get(f"{ADMIN}/queue").content)
        assert (queue.models[0].waiting_jobs, queue.models[0].running_jobs, queue.dead_jobs) == (0, 0, 0)
        until(lambda: http.get(f"{ADMIN}/queue").json()["workers"][0]["rows_run"] == 3)


def test_without_a_worker_the_queue_is_empty(toy_store: Store) -> None:
    with serving(toy_store, working=False) as service, httpx.Client(base_url=service.url) as http:
        assert http.get(f"{ADMIN}/queue").json() == {"models": [], "workers": [], "dead_jobs": 0}
        assert "fivefold_workers 0.0" in http.get("/metrics").text
        refused(http.post(f"{ADMIN}/workers/x/drain"), 404, "not_found", "'x'", "none")


# Dead jobs


@pytest.fixture
def dead(toy_store: Store) -> Iterator[tuple[httpx.Client, str]]:
    """A service with a dead job, and the path of the job: its worker was taken for dead at the first attempt."""
    gate = Gate()
    with serving(toy_store, [gate.family]) as service, httpx.Client(base_url=service.url, timeout=30) as http:
        broker = service.worker.broker
        limits = broker._ledger.limits
        broker._ledger.limits = replace(limits, lease_seconds=-1.0, max_attempts=1)
        job = http.post(SCALE, json=ROW, headers=ASYNC).headers["location"]
        assert gate.reached.wait(10)
        assert asyncio.run(broker.take(["toy-affine@1"], budget=0.0, wait=0.0)) == []
        broker._ledger.limits = limits
        gate.opened.set()
        yield http, job


def test_a_dead_job_is_seen_and_replayed(dead: tuple[httpx.Client, str]) -> None:
    http, job = dead
    job_id = job.rpartition("/")[2]
    document = http.get(job).json()
    assert (document["state"], document["error"]["code"]) == ("failed", "row_failed")
    (listed,) = DeadJobList.model_validate_json(http.get(f"{ADMIN}/dead").content).jobs
    assert (listed.id, listed.model, listed.operation) == (job_id, "toy-affine@1", SCALE)
    assert (listed.tenant, listed.rows, listed.attempts) == ("anonymous", 1, 1)
    assert "fell silent in 1 of 1 attempts" in listed.reason
    assert http.get(f"{ADMIN}/queue").json()["dead_jobs"] == 1
    replayed = http.post(f"{ADMIN}/dead/{job_id}/replay")
    assert (replayed.status_code, replayed.json()) == (202, listed.model_dump())
    http.get(f"{job}/events")
    assert http.get(job).json()["result"]["items"][0]["row"] == [1, 3, 5, 7]
    assert http.get(f"{ADMIN}/dead").json() == {"jobs": []}
    refused(http.post(f"{ADMIN}/dead/{job_id}/replay"), 404, "not_found", f"no dead job '{job_id}'")


# Workers and models


def test_a_drained_worker_finishes_what_runs_and_stops(toy_store: Store) -> None:
    gate = Gate()
    with serving(toy_store, [gate.family]) as service, httpx.Client(base_url=service.url, timeout=30) as http:
        job = http.post(SCALE, json=ROW, headers=ASYNC).headers["location"]
        assert gate.reached.wait(10)
        refused(http.post(f"{ADMIN}/workers/nobody/drain"), 404, "not_found", "'nobody'", service.worker.id)
        answer = http.post(f"{ADMIN}/workers/{service.worker.id}/drain")
        ordered = ControlDocument.model_validate_json(answer.content)
        assert (answer.status_code, ordered.action, ordered.workers) == (202, "drain", [service.worker.id])
        gate.opened.set()
        http.get(f"{job}/events")
        assert http.get(job).json()["state"] == "done"
        until(lambda: http.get("/healthz/ready").status_code == 503)
        refused(http.post(SCALE, json=ROW), 503, "not_ready")


def test_all_workers_are_drained_at_once(http: httpx.Client, service: Service) -> None:
    assert http.post(f"{ADMIN}/drain").json()["workers"] == [service.worker.id]
    until(lambda: http.get("/healthz/ready").status_code == 503)


def test_models_come_and_go(http: httpx.Client, service: Service) -> None:
    def served() -> list[str]:
        return [card["name"] for card in http.get("/v1/models").json()["models"]]

    answer = http.post(f"{ADMIN}/models/toy-affine@1/unload")
    assert (answer.status_code, answer.json()["model"]) == (202, "toy-affine@1")
    until(lambda: served() == [])
    refused(http.post(SCALE, json={**ROW, "model": "toy-affine"}), 503, "not_ready", "toy-affine@1")
    assert http.post(f"{ADMIN}/models/toy-affine/load", params={"worker": service.worker.id}).status_code == 202
    until(lambda: served() == ["toy-affine"])
    assert http.post(SCALE, json=ROW).is_success


@pytest.mark.parametrize("action", ["load", "unload"])
def test_what_is_not_there_is_neither_loaded_nor_unloaded(http: httpx.Client, service: Service, action: str) -> None:
    for model in ("nobody", "toy-affine@9", "toy-affine@", "..%2Fx", "%00"):
        answer = http.post(f"{ADMIN}/models/{model}/{action}")
        if model == "toy-affine@":  # the default
            assert answer.is_success
        else:
            assert answer.status_code == 404
    refused(http.post(f"{ADMIN}/models/nobody/{action}"), 404, "unknown_model", "'nobody'", "toy-affine")
    other = http.post(f"{ADMIN}/models/toy-affine/{action}", params={"worker": "x"})
    refused(other, 404, "not_found", "'x'", service.worker.id)


# Aliases


def test_an_alias_is_followed_by_every_replica_within_its_refresh(two_versions: Store) -> None:
    with serving(two_versions) as service, httpx.Client(base_url=service.url, timeout=30) as http:
        replica = create_app(
            Settings(store=two_versions.root), service.worker.broker, two_versions, [toy.TOY], Metrics()
        )

        async def elsewhere() -> list[str]:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(replica), base_url="http://localhost") as other:
                answer = await other.get("/v1/models/toy-affine@stable")
                return [answer.json()["version"]] if answer.is_success else []

        assert default_version(http) == "2"
        assert http.get("/v1/models/toy-affine@stable").status_code == 404
        answer = http.post(f"{ADMIN}/models/toy-affine/alias", json={"alias": "stable", "version": "1"})
        assert answer.json() == {"model": "toy-affine", "alias": "stable", "version": "1"}
        until(lambda: asyncio.run(elsewhere()) == ["1"])
        until(lambda: http.get("/v1/models/toy-affine@stable").is_success)
        assert default_version(http, "toy-affine@stable") == "1"
        assert default_version(http) == "2"
        cards = {card["version"]: card["aliases"] for card in http.get("/v1/models").json()["models"]}
        assert cards == {"1": ["stable"], "2": ["default"]}


def test_aliases_survive_a_restart_of_the_service(two_versions: Store, tmp_path: Path) -> None:
    for restarted in (False, True):
        with (
            serving(two_versions, aliases_file=tmp_path / "kept.json") as service,
            httpx.Client(base_url=service.url) as http,
        ):
            if not restarted:
                http.post(f"{ADMIN}/models/toy-affine/alias", json={"alias": "default", "version": "1"})
            answer = http.post("/v1/toy/scale", json={"rows": [[1, 2, 3, 4]]}).json()
            assert not restarted or answer["meta"]["model"]["version"] == "1"
    assert two_versions.resolve("toy-affine").ref.version == "2"


def test_the_brokers_alias_wins_over_the_stores(two_versions: Store) -> None:
    two_versions.set_alias("toy-affine", "default", "2")
    with serving(two_versions) as service, httpx.Client(base_url=service.url, timeout=30) as http:
        http.post(f"{ADMIN}/models/toy-affine/alias", json={"alias": "default", "version": "1"})
        until(lambda: default_version(http) == "1")
        cards = {card["version"]: card for card in http.get("/v1/models").json()["models"]}
        assert {version: card["aliases"] for version, card in cards.items()} == {"1": ["default"], "2": []}
        assert {version: card["default"] for version, card in cards.items()} == {"1": True, "2": False}
        assert http.post(SCALE, json=ROW).json()["parameters"]["model"] == "toy-affine@1"
        http.post(f"{ADMIN}/models/toy-affine/alias", json={"alias": "default", "version": "2"})
        until(lambda: default_version(http) == "2")


def test_a_job_keeps_the_version_that_it_began_with(two_versions: Store) -> None:
    with serving(two_versions) as service, httpx.Client(base_url=service.url, timeout=30) as http:
        job = http.post(SCALE, json={**ROW, "model": "toy-affine"}, headers=ASYNC).headers["location"]
        http.post(f"{ADMIN}/models/toy-affine/alias", json={"alias": "default", "version": "1"})
        until(lambda: default_version(http) == "1")
        http.get(f"{job}/events")
        assert http.get(job).json()["result"]["meta"]["model"]["version"] == "2"


@pytest.mark.parametrize(
    ("body", "status", "parts"),
    [
        ({"alias": "stable", "version": "9"}, 422, ("'9' given", "toy-affine has 1")),
        ({"alias": "1", "version": "1"}, 422, ("'1' is a version of toy-affine",)),
        ({"alias": "", "version": "1"}, 422, ("alias",)),
        ({"alias": "../x", "version": "1"}, 422, ("alias",)),
        ({"alias": "A", "version": "1"}, 422, ("alias",)),
        ({"alias": "stable@1", "version": "1"}, 422, ("alias",)),
        ({"alias": 1, "version": "1"}, 422, ("alias: 1 given",)),
        ({"alias": "stable"}, 422, ("version",)),
        ({"alias": "stable", "version": "1", "x": 1}, 422, ("unknown field",)),
        ([], 422, ()),
        (b"{", 422, ("Invalid JSON",)),
        (b"", 422, ("Invalid JSON",)),
        (b" " * 200_000, 413, ("200000 bytes given",)),
    ],
)
def test_an_alias_that_cannot_be_is_refused(http: httpx.Client, body: object, status: int, parts: tuple) -> None:
    given = {"content": body} if isinstance(body, bytes) else {"json": body}
    answer = http.post(f"{ADMIN}/models/toy-affine/alias", **given, headers={"content-type": "application/json"})
    refused(answer, status, "invalid_input" if status == 422 else "payload_too_large", *parts)


def test_an_alias_of_no_model_is_not_found(http: httpx.Client) -> None:
    answer = http.post(f"{ADMIN}/models/nobody/alias", json={"alias": "a", "version": "1"})
    refused(answer, 404, "unknown_model", "'nobody'", "toy-affine")


# Who may


def test_only_the_scope_admin_opens_these_routes(toy_store: Store, tmp_path: Path) -> None:
    keys = keys_file(tmp_path, entry("a", "ff_a"), entry("ops", "ff_ops", KEY_SCOPES))
    with serving(toy_store, keys_file=keys) as service, httpx.Client(base_url=service.url) as http:
        document = http.get("/openapi.json").json()
        described = {
            (method.upper(), path)
            for path in document["paths"]
            if path.startswith(ADMIN)
            for method in document["paths"][path]
        }
        assert len(described) == len(ROUTES)
        for method, path in described:
            assert document["paths"][path][method.lower()]["security"][1:] == [
                {"api_key": ["admin"]},
                {"bearer": ["admin"]},
            ]
        for method, path in ROUTES:
            statuses = [
                http.request(method, ADMIN + path, headers=headers).status_code
                for headers in ({}, by_key("ff_wrong"), by_key("ff_a"))
            ]
            assert statuses == [401, 401, 403], path
        assert http.get(f"{ADMIN}/queue", headers=by_key("ff_ops")).is_success
        assert http.get("/healthz/ready").is_success
