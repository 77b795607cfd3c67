"""Heads without an end, of many fields, and connections that never send one."""

from contextlib import ExitStack, suppress

from tests.attack.scenario import Outcome, Scenario
from tests.attack.target import Target

MB = 2**20


def one_field_of_128_mb(target: Target, scale: float) -> Outcome:
    return _send(target, b"x: " + b"y" * MB, int(128 * scale))


def a_million_fields(target: Target, scale: float) -> Outcome:
    return _send(target, b"x: y\r\n" * 50_000, int(20 * scale))


def _send(target: Target, piece: bytes, pieces: int) -> Outcome:
    """Until the service closes; the status is that of what it said before."""
    outcome, sent, received = Outcome(), 0, b""
    with target.connect() as connection:
        try:
            connection.sendall(target.head("GET /healthz/live").removesuffix(b"\r\n"))
            for _ in range(pieces):
                connection.sendall(piece)
                sent += len(piece)
        except OSError:
            pass
        with suppress(OSError):
            received = connection.recv(65536)
    outcome.add(int(received.split()[1]) if received else "closed", sent)
    return outcome


def idle_connections(target: Target, scale: float) -> Outcome:
    outcome = Outcome()
    with ExitStack() as stack:
        for _ in range(int(2500 * scale)):
            stack.enter_context(target.connect())
        with target.client() as http:
            outcome.add(http.get("/healthz/ready").status_code)
    return outcome


SCENARIOS = [
    Scenario("headers", "one field of 128 MB", one_field_of_128_mb, frozenset({431, "closed"})),
    Scenario("headers", "a million fields", a_million_fields, frozenset({431, "closed"})),
    Scenario("slow clients", "2,500 idle connections", idle_connections, frozenset({200})),
]
