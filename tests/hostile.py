"""A real server on an ephemeral port that answers from a script, byte by byte, and records what it was asked."""

import json
import socketserver
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

JSON = {"content-type": "application/json"}
PROBLEM = {"content-type": "application/problem+json"}
EVENTS = {"content-type": "text/event-stream"}


@dataclass(frozen=True)
class Asked:
    """One request as it came over the wire; header names in lower case."""

    line: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Script:
    """One answer: bytes, and then the connection is closed, or held until the client has gone."""

    data: bytes = b""
    hold: bool = False
    drip: bool = False


def answer(status: int, body: object = b"", headers: Mapping[str, str] = JSON) -> Script:
    """A whole answer: `body` is bytes, or what becomes JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Script(head(status, {**headers, "content-length": str(len(content))}) + content)


def problem(status: int, code: str, detail: str = "because", **members: object) -> Script:
    return answer(status, {"code": code, "detail": detail, "status": status, **members}, PROBLEM)


def head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in headers.items()), "connection: close"]
    return "\r\n".join([*lines, "", ""]).encode()


class HostileServer(socketserver.ThreadingTCPServer):
    """`play` sets the answers, one per request; `gone` is set once a client has left a connection that is held."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script: deque[Script] = deque()
        self.asked: list[Asked] = []
        self.gone = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def play(self, script: Iterable[Script]) -> None:
        self.script, self.asked = deque(script), []
        self.gone.clear()


class _Handler(socketserver.StreamRequestHandler):
    server: HostileServer

    def handle(self) -> None:
        line = self.rfile.readline().decode().strip()
        headers = dict(iter(self._header, None))
        body = self.rfile.read(int(headers.get("content-length", 0)))
        self.server.asked.append(Asked(line, headers, body))
        script = self.server.script.popleft()
        self.wfile.write(script.data)
        if script.drip:
            self._drip()
        if script.hold:
            self.rfile.read()  # returns when the client closes
            self.server.gone.set()

    def _header(self) -> tuple[str, str] | None:
        name, _, value = self.rfile.readline().decode().strip().partition(": ")
        return (name.lower(), value) if name else None

    def _drip(self) -> None:
        pace = threading.Event()
        try:
            while not pace.wait(0.01):
                self.wfile.write(b" ")
        except OSError:
            self.server.gone.set()
