"""A browser is not its user: hosts, origins and content types that a service without keys refuses."""

import json
from collections.abc import Iterator

import httpx
import pytest
import toy
from hypothesis import given
from hypothesis import strategies as st
from served import Service, serving

from fivefold.errors import Forbidden
from model_store.store import Store
from service.api.access.sites import SiteGuard, host_name, is_loopback

LOOPBACK = ["localhost", "localhost:8000", "LOCALHOST", "localhost.", "app.localhost:1", "127.0.0.1:80", "127.9.9.9"]
LOOPBACK += ["[::1]", "[::1]:8000"]
FOREIGN = ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "notlocalhost"]
FOREIGN += ["localhost@evil.example", "evil.example@localhost", "localhost/", "localhost:x", "", "0.0.0.0", "[::1", "é"]
ADDRESSES = ["10.1.2.3", "192.168.0.7:8000", "[2001:db8::1]:443"]
APP = "https://app.example.org"
ADMIN, SCALE, ROW = "/v1/admin/drain", "/v1/toy/scale", {"rows": [[0, 1, 2, 3]]}
LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
OTHERS = st.lists(LABELS, min_size=1, max_size=4).map(".".join).filter(lambda name: not is_loopback(name))


def refuses(guard: SiteGuard, method: str, **headers: str) -> bool:
    try:
        guard.check(method, {name.replace("_", "-"): value for name, value in headers.items()})
    except Forbidden:
        return True
    return False


@pytest.mark.parametrize("public", [False, True])
@pytest.mark.parametrize(
    ("hosts", "refused"), [(LOOPBACK, False), (["api:8000", "API"], False), (FOREIGN[:-4], True), (FOREIGN[-2:], True)]
)
def test_only_loopback_names_and_listed_ones_are_hosts(hosts: list[str], refused: bool, public: bool) -> None:
    guard = SiteGuard(["Api"], [], public=public)
    assert {refuses(guard, method, host=host) for host in hosts for method in ("GET", "POST")} == {refused}


@pytest.mark.parametrize("host", ADDRESSES)
def test_an_address_is_a_host_on_a_public_address_alone(host: str) -> None:
    assert refuses(SiteGuard([], [], public=False), "GET", host=host)
    assert not refuses(SiteGuard([], [], public=True), "GET", host=host)


@given(OTHERS, st.sampled_from(["", ":1", ":8000"]), st.booleans())
def test_no_other_name_is_a_host(name: str, port: str, public: bool) -> None:
    assert refuses(SiteGuard([], [], public=public), "GET", host=name + port) is (not _is_public_address(name, public))


def _is_public_address(name: str, public: bool) -> bool:
    """A strategy of labels also makes addresses such as 1.2.3.4."""
    parts = name.split(".")
    return public and len(parts) == 4 and all(part.isdigit() and str(int(part)) == part <= "9" * 3 for part in parts)


@given(st.text() | st.text("[]:@/%.a1"))
def test_any_text_has_a_host_name_or_none(text: str) -> None:
    name = host_name(text)
    assert name == "" or text.lower().lstrip("[").startswith(name.lower())


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize(
    ("headers", "refused"),
    [
        ({}, False),
        ({"origin": "http://localhost:8000"}, False),
        ({"origin": "http://localhost:8000", "sec_fetch_site": "same-origin"}, False),
        ({"sec_fetch_site": "none"}, False),
        ({"origin": APP, "sec_fetch_site": "cross-site"}, False),
        ({"origin": "http://localhost:3000"}, True),
        ({"origin": "http://127.0.0.1:8000"}, True),
        ({"origin": "https://evil.example"}, True),
        ({"origin": f"{APP}.evil.example"}, True),
        ({"origin": "null"}, True),
        ({"origin": ""}, True),
        ({"sec_fetch_site": "cross-site"}, True),
        ({"sec_fetch_site": "same-site"}, True),
        ({"origin": "http://localhost:8000", "sec_fetch_site": "Cross-Site"}, True),
    ],
)
def test_only_its_own_pages_and_named_ones_send_requests(method: str, headers: dict[str, str], refused: bool) -> None:
    guard = SiteGuard([], [APP], public=False)
    assert refuses(guard, method, host="localhost:8000", **headers) is refused
    assert not refuses(guard, "GET", host="localhost:8000", **headers)
    assert not refuses(guard, "HEAD", host="localhost:8000", **headers)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    store = Store(tmp_path_factory.mktemp("store") / "models")
    toy.publish_toy(store)
    with serving(store, cors_origins=(APP,), root_path="/five/fold") as running:
        yield running


@pytest.fixture
def web(shared: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=shared.url, timeout=30) as client:
        yield client


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def test_a_page_elsewhere_neither_drains_nor_asks(web: httpx.Client) -> None:
    for headers in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}, {"host": "evil.example"}):
        for path in (ADMIN, SCALE, "/v1/nothing", "/healthz/live"):
            assert code(web.post(path, headers=headers)) == (403, "forbidden"), (path, headers)
    assert code(web.get("/v1/jobs", headers={"host": "evil.example"})) == (403, "forbidden")
    assert web.get("/healthz/ready").status_code == 200


def test_a_named_page_is_allowed_by_cors_and_no_other_is(web: httpx.Client) -> None:
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}
    allowed = web.options(SCALE, headers={"origin": APP, **asked})
    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, APP)
    answer = web.post(SCALE, json=ROW, headers={"origin": APP, "sec-fetch-site": "cross-site"})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, APP)
    other = web.options(SCALE, headers={"origin": "https://evil.example", **asked})
    assert other.status_code == 400
    assert "access-control-allow-origin" not in other.headers


def test_a_body_needs_a_content_type_and_no_body_needs_none(web: httpx.Client) -> None:
    body = json.dumps(ROW).encode()
    assert code(web.post(SCALE, content=body)) == (415, "unsupported_media_type")
    assert code(web.post(SCALE, content=iter([body]))) == (415, "unsupported_media_type")
    assert code(web.post(SCALE, content=body, headers={"content-type": ""})) == (415, "unsupported_media_type")
    assert web.post("/v1/toy/count").status_code == 200


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
@pytest.mark.parametrize("body", [b"", b"{}"])
def test_an_order_is_json_or_nothing(web: httpx.Client, content_type: str, body: bytes) -> None:
    for path in (ADMIN, "/v1/admin/models/toy-affine/unload", "/v1/admin/models/toy-affine/alias"):
        answer = web.post(path, content=body, headers={"content-type": content_type})
        assert code(answer) == (415, "unsupported_media_type")


@pytest.mark.parametrize("prefix", ["", "/five/fold"])
@pytest.mark.parametrize("page", ["/docs", "/redoc"])
def test_the_documentation_needs_no_other_host_and_holds_behind_a_prefix(
    web: httpx.Client, page: str, prefix: str
) -> None:
    text = web.get(prefix + page).text
    assert "https://" not in text
    assert not any(absolute in text for absolute in ("'/", 'href="/', 'src="/', 'url="/'))
    links = [link for link in text.replace("'", '"').split('"') if link.endswith((".js", ".css", ".png", ".json"))]
    assert len(links) >= 3
    for link in links:
        assert web.get(f"{prefix}/{link}").status_code == 200, link
    assert web.get(f"{prefix}/openapi.json").json()["servers"] == [{"url": "/five/fold"}]


def test_routes_and_locations_have_the_prefix(web: httpx.Client) -> None:
    answer = web.post(f"/five/fold{SCALE}", json=ROW, headers={"prefer": "respond-async"})
    assert answer.status_code == 202
    assert web.get(answer.headers["location"]).status_code == 200
    assert answer.headers["location"].startswith("/five/fold/v1/jobs/")


@pytest.mark.parametrize(
    "path", ["/healthz/live", "/healthz/ready", "/metrics", "/docs", "/redoc", "/openapi.json", "/v1/models", "/none"]
)
def test_head_answers_as_get_without_a_body(web: httpx.Client, path: str) -> None:
    head, get = web.head(path), web.get(path)
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert head.headers["content-type"] == get.headers["content-type"]
