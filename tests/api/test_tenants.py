"""Who may do what over HTTP: keys, scopes, tenants; and that no key or prompt is ever written down."""

import os
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import httpx
import pytest
import talkative_service
import toy
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from keyed import by_bearer, by_key, entry, keys_file
from served import Gate, Service, serving
from starlette.routing import Route
from waiting import until

from model_store.store import Store
from service.api.access.keys import KEY_SCOPES
from service.api.access.middleware import OPEN_PATHS
from service.api.app import create_app
from service.assembly import make_broker
from service.broker.base import Accepted
from service.jobs import Job
from service.settings import Settings
from service.telemetry import Metrics

ROOT = Path(__file__).parents[2]
SCALE, COUNT, MODELS, ADMIN = "/v1/toy/scale", "/v1/toy/count", "/v1/models", "/v1/admin/none"
ROW = {"rows": [[1, 2, 3, 4]]}
SCOPES = {"generator": ("generate",), "scorer": ("score",), "admin": ("admin",), "all": KEY_SCOPES}
OPEN = {"/healthz/live", "/healthz/ready", "/metrics", "/docs", "/redoc", "/openapi.json"}
OPEN |= {f"/docs/{name}" for name in ("swagger-ui-bundle.js", "swagger-ui.css", "redoc.standalone.js", "favicon.png")}


def secret(name: str) -> str:
    return f"ff_{name}-secret"


@pytest.fixture
def keyed(toy_store: Store, tmp_path: Path) -> Iterator[Service]:
    """A service with one key of each kind, and a second one of the tenant `all`."""
    entries = [entry(name, secret(name), scopes) for name, scopes in SCOPES.items()]
    path = keys_file(tmp_path, *entries, entry("all", secret("rotated"), KEY_SCOPES))
    with serving(toy_store, keys_file=path) as running:
        yield running


@pytest.fixture
def locked(toy_store: Store, tmp_path: Path) -> FastAPI:
    """The application alone, with keys."""
    settings = Settings(store=toy_store.root, keys_file=keys_file(tmp_path, entry("all", secret("all"), KEY_SCOPES)))
    metrics = Metrics()
    broker = make_broker(settings, [toy.TOY], metrics.registry)
    return create_app(settings, broker, toy_store, [toy.TOY], metrics)


def test_what_is_open_is_a_short_list() -> None:
    assert OPEN_PATHS == OPEN


async def test_no_route_beyond_the_open_ones_answers_without_a_key(locked: FastAPI) -> None:
    routes = list(iter_route_contexts(locked.routes))
    assert all(isinstance(route.original_route, Route) for route in routes)  # a mount or a web socket needs a rule
    assert {SCALE, COUNT, MODELS, "/v1/models/{name}"} | OPEN <= {route.path for route in routes}
    transport = httpx.ASGITransport(locked)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        for route in routes:
            path = route.path.replace("{", "").replace("}", "")
            for method in route.methods:
                for headers in ({}, by_key("ff_unknown"), by_bearer("ff_unknown")):
                    answer = await client.request(method, path, headers=headers)
                    assert (answer.status_code == 401) is (path not in OPEN), (method, path)
                assert (await client.request(method, path, headers=by_key(secret("all")))).status_code != 401


def test_the_openapi_document_names_the_headers_and_each_operations_scope(locked: FastAPI) -> None:
    document = locked.openapi()
    schemes = document["components"]["securitySchemes"]
    assert {(scheme["type"], scheme.get("name", scheme.get("scheme"))) for scheme in schemes.values()} == {
        ("apiKey", "x-api-key"),
        ("http", "bearer"),
    }
    for path, scope in ((SCALE, "score"), (COUNT, "generate")):
        operation = document["paths"][path]["post"]
        assert operation["security"] == [{}, *({name: [scope]} for name in schemes)]
        assert {"401", "403"} <= operation["responses"].keys()


def test_a_path_that_is_not_there_tells_nothing_without_a_key(keyed: Service) -> None:
    with httpx.Client() as http:
        for path in ("/", "/v1", "/v1/none", ADMIN, "/healthz", "/healthz/live/", "/metrics/", "//metrics", "/Metrics"):
            assert http.get(keyed.url + path).status_code == 401, path
            assert http.get(keyed.url + path, headers=by_key(secret("admin"))).status_code == 404, path


@pytest.mark.parametrize("given", [by_key, by_bearer])
@pytest.mark.parametrize("name", SCOPES)
def test_a_key_opens_what_its_scopes_say_and_nothing_else(keyed: Service, name: str, given) -> None:
    needed = {SCALE: "score", COUNT: "generate", ADMIN: "admin", MODELS: None}
    with httpx.Client(base_url=keyed.url, headers=given(secret(name)), timeout=30) as http:
        for path, scope in needed.items():
            answer = http.post(path, json=ROW if path == SCALE else {}) if "toy" in path else http.get(path)
            allowed = scope is None or scope in SCOPES[name]
            assert answer.status_code == ((404 if path == ADMIN else 200) if allowed else 403), (path, answer.text)
            if not allowed:
                problem = answer.json()
                assert (problem["code"], answer.headers["x-should-retry"]) == ("forbidden", "false")
                assert f"needs the scope {scope}" in problem["detail"]
                assert f"has {', '.join(SCOPES[name])}" in problem["detail"]
                assert "www-authenticate" not in answer.headers


@pytest.mark.parametrize("headers", [{}, by_key("ff_wrong"), by_bearer("ff_wrong"), {"authorization": "Basic x"}])
def test_without_a_known_key_the_answer_is_a_problem_that_says_how(keyed: Service, headers: dict[str, str]) -> None:
    answer = httpx.post(keyed.url + SCALE, json=ROW, headers=headers | {"x-request-id": "r-1"})
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.json()["code"], answer.json()["request_id"]) == ("unauthenticated", "r-1")
    assert "ff_wrong" not in answer.text


@pytest.mark.parametrize(("key", "status"), [("unknown", 401), ("generator", 403), ("scorer", 413)])
def test_a_key_is_judged_before_the_body_is_read(keyed: Service, key: str, status: int) -> None:
    connection = HTTPConnection(keyed.url.removeprefix("http://"), timeout=10)
    connection.putrequest("POST", SCALE)
    for name, value in {"content-length": str(10**9), **by_key(secret(key))}.items():
        connection.putheader(name, value)
    connection.endheaders()  # and not one byte of the body
    assert connection.getresponse().status == status
    connection.close()


def test_without_a_keys_file_everybody_has_every_scope(http: httpx.Client) -> None:
    for headers in ({}, by_key("ff_any")):
        assert http.post(SCALE, json=ROW, headers=headers).is_success
        assert http.post(COUNT, json={}, headers=headers).is_success
        assert http.get(MODELS, headers=headers).is_success
        assert http.get(ADMIN, headers=headers).status_code == 404


def test_an_idempotency_key_belongs_to_its_tenant(toy_store: Store, tmp_path: Path) -> None:
    gate = Gate()
    gate.opened.set()
    keys = {"a": "a", "b": "b", "a-rotated": "a"}
    path = keys_file(tmp_path, *(entry(tenant, secret(key)) for key, tenant in keys.items()))
    with serving(toy_store, [gate.family], keys_file=path) as service:

        def ask(key: str, row: list[float]) -> httpx.Response:
            headers = by_key(secret(key)) | {"idempotency-key": "same"}
            return httpx.post(service.url + SCALE, json={"rows": [row]}, headers=headers, timeout=30)

        assert ask("a", [1, 1, 1, 1]).json()["items"][0]["row"] == [3.0] * 4
        assert ask("b", [2, 2, 2, 2]).json()["items"][0]["row"] == [5.0] * 4
        assert ask("a-rotated", [1, 1, 1, 1]).json()["items"][0]["row"] == [3.0] * 4
        assert sum(gate.batches) == 2
        assert ask("a-rotated", [2, 2, 2, 2]).status_code == 409


def test_a_job_carries_its_tenant_and_its_weight(toy_store: Store, tmp_path: Path) -> None:
    path = keys_file(tmp_path, entry("heavy", secret("heavy"), weight=2.5))
    with serving(toy_store, keys_file=path) as service:
        broker, seen = service.worker.broker, []
        submit = broker.submit

        async def watched(job: Job) -> Accepted:
            seen.append((job.tenant, job.weight))
            return await submit(job)

        broker.submit = watched
        assert httpx.post(service.url + SCALE, json=ROW, headers=by_key(secret("heavy")), timeout=30).is_success
    assert seen == [("heavy", 2.5)]


KEY, WRONG, PROMPT = "ff_canary-of-a-key", "ff_canary-of-a-wrong-key", "canary-of-a-prompt"


@pytest.fixture
def talkative(toy_store: Store, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The service's process and its address; the log of both of its processes is the file `log`."""
    settings = {"STORE": toy_store.root, "KEYS_FILE": keys_file(tmp_path, entry("acme", KEY)), "PORT": 0}
    variables = {f"FIVEFOLD_{name}": str(value) for name, value in settings.items()}
    env = {**os.environ, **variables, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests")))}
    command = [sys.executable, "-u", talkative_service.__file__]
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        url = process.stdout.readline().split()[2]
        until(lambda: httpx.get(f"{url}/healthz/ready").is_success, seconds=60.0)
        yield process, url
        process.terminate()


def test_no_key_and_no_prompt_is_ever_written_down(
    talkative: tuple[subprocess.Popen[str], str], tmp_path: Path
) -> None:
    process, url = talkative
    said, statuses = [], set()
    with httpx.Client(base_url=url, timeout=30) as http:
        for headers in (by_key(KEY), by_bearer(KEY), by_key(WRONG), by_bearer(WRONG), by_key(WRONG) | by_bearer(KEY)):
            bodies = (ROW, {"rows": [[toy.POISON] * 4]}, {"rows": PROMPT}, {"model": PROMPT, **ROW}, [PROMPT])
            asked = [(path, {"json": body}) for path in (SCALE, "/v1/toy/broken", COUNT) for body in bodies]
            asked += [(SCALE, {"content": PROMPT}), (f"{SCALE}?x={PROMPT}", {"json": ROW}), (ADMIN, {})]
            for path, body in asked:
                answer = http.post(path, headers=headers, **body)
                statuses.add(answer.status_code)
                said.append(f"{answer.headers} {answer.text}")
        metrics = http.get("/metrics").text
    process.terminate()
    output, _ = process.communicate(timeout=30)
    log = (tmp_path / "log").read_text()
    assert {200, 401, 403, 404, 422, 500} <= statuses
    assert log.count('"event": "row_failed"') >= 2  # that much is written of what goes wrong
    assert log.count('"event": "request_failed"') >= 2
    assert not [secret for secret in (KEY, WRONG) for text in (output, log, metrics, *said) if secret in text]
    assert not [text for text in (output, log, metrics) if PROMPT in text]
