"""What a client may send and take, on real sockets: heads, stalled bodies, half-closed and old connections."""

import json
import socket
from collections.abc import Iterator

import httpx
import pytest
import toy
from served import Service, serving

from model_store.store import Store

SCALE, COUNT, ROW = "/v1/toy/scale", "/v1/toy/count", {"rows": [[0, 1, 2, 3]]}
JSON = "content-type: application/json"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    store = Store(tmp_path_factory.mktemp("store") / "models")
    toy.publish_toy(store)
    with serving(store, client_seconds=0.5, max_connections=20) as running:
        yield running


def connect(service: Service) -> socket.socket:
    host, port = service.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), 15)


def request(line: str, body: dict | None = None, *fields: str) -> bytes:
    content = b"" if body is None else json.dumps(body).encode()
    return "\r\n".join([line, "host: localhost", f"content-length: {len(content)}", *fields, "", ""]).encode() + content


def everything(connection: socket.socket) -> bytes:
    pieces = []
    while piece := connection.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


@pytest.mark.parametrize("line", [f"POST {SCALE} HTTP/1.1", f"POST {SCALE} HTTP/1.0"])
def test_a_half_closed_connection_gets_its_answer(shared: Service, line: str) -> None:
    with connect(shared) as connection:
        connection.sendall(request(line, ROW, JSON))
        connection.shutdown(socket.SHUT_WR)
        assert everything(connection).startswith(b"HTTP/1.1 200 OK")


def test_a_half_closed_stream_gets_all_its_events(shared: Service) -> None:
    with connect(shared) as connection:
        connection.sendall(request(f"POST {COUNT} HTTP/1.1", {}, JSON, "accept: text/event-stream"))
        connection.shutdown(socket.SHUT_WR)
        assert b"event: done" in everything(connection)


def test_a_stream_for_http_1_0_has_no_chunks(shared: Service) -> None:
    with connect(shared) as connection:
        connection.sendall(request(f"POST {COUNT} HTTP/1.0", {}, JSON, "accept: text/event-stream"))
        head, _, body = everything(connection).partition(b"\r\n\r\n")
    assert b" 200 " in head
    assert b"transfer-encoding" not in head
    assert body.startswith(b"event: chunk\n")
    assert b"event: done\n" in body


@pytest.mark.parametrize("fields", [["x: " + "y" * 40_000], [f"x{index}: y" for index in range(8000)]])
def test_a_head_over_the_limit_is_refused(shared: Service, fields: list[str]) -> None:
    with connect(shared) as connection:
        connection.sendall(request("GET /healthz/live HTTP/1.1", None, *fields))
        assert everything(connection).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("sent", [b"", b"GET /healthz", b"POST /v1/toy/scale HTTP/1.1\r\ncontent-length: 9\r\n\r\nx"])
def test_a_client_that_stops_sending_is_closed(shared: Service, sent: bytes) -> None:
    with connect(shared) as connection:
        connection.sendall(sent)
        everything(connection)


def test_the_newest_clients_are_served_among_too_many(shared: Service) -> None:
    idle = [connect(shared) for _ in range(40)]
    assert httpx.get(f"{shared.url}/healthz/live").status_code == 200
    for connection in idle:
        connection.close()
