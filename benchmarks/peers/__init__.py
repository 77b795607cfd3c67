"""`python -m benchmarks peers`: the same echo in other servers, each in an environment of its own under build/peers."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import httpx

from benchmarks import echo
from benchmarks.options import Options
from benchmarks.processes import free_port, started
from benchmarks.queue import Subject, memory, redis, table

ENVIRONMENTS = Path("build/peers")
APPS = Path(__file__).parent
# The path that each answers on.
PEERS = {
    "mosec": "/inference",
    "litserve": "/predict",
    "bentoml": "/echo",
}
START_SECONDS = 60.0


def installed(name: str) -> bool:
    return python_of(name).exists()


def python_of(name: str) -> Path:
    return ENVIRONMENTS / name / "bin" / "python"


@contextmanager
def peer(name: str) -> Iterator[Subject]:
    """The peer's echo, answering."""
    port, began = free_port(), time.perf_counter()
    with started([str(python_of(name)), str(APPS / f"{name}_app.py"), str(port)]) as own:
        url = f"http://127.0.0.1:{port}{PEERS[name]}"
        while not _echoes(url):
            if own.poll() is not None or time.perf_counter() - began > START_SECONDS:
                raise RuntimeError(f"{name} does not answer on {url}: see what it printed")
            time.sleep(0.1)
        yield Subject(url, (own.pid,))


def _echoes(url: str) -> bool:
    try:
        answer = httpx.post(url, json=echo.BODY, timeout=2)
    except httpx.TransportError:
        return False
    return answer.status_code == 200 and answer.json()["rows"] == echo.BODY["rows"]


def main(options: Options) -> None:
    there: dict[str, Callable[[], AbstractContextManager[Subject]]] = {"memory": memory, "redis": redis}
    for name in PEERS:
        if installed(name):
            there[name] = lambda name=name: peer(name)  # type: ignore[misc]
        else:
            print(f"{name} is not installed: make bench-peers")
    table(there, options)
