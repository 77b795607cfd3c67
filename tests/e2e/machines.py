"""API replicas and workers in processes of their own, with the models that ship, over one queue server."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import queue_server

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Machines:
    """The addresses of the API replicas, their processes and the workers'."""

    urls: list[str]
    replicas: list[subprocess.Popen[bytes]]
    workers: list[subprocess.Popen[bytes]]
    server: queue_server.Server


@contextmanager
def machines(folder: Path, replicas: int, workers: int, **settings: str) -> Iterator[Machines]:
    """All of them, ready; what is left of them is stopped at the end."""
    with queue_server.running(folder, aof=True) as server, ExitStack() as stack:
        knobs = {"intra_op_threads": "1", "log_level": "error", "redis_url": server.url, **settings}
        ports = [queue_server.free_port() for _ in range(replicas)]
        found = Machines(
            [f"http://127.0.0.1:{port}" for port in ports],
            [stack.enter_context(_process("api", {**knobs, "port": str(port)})) for port in ports],
            [stack.enter_context(_process("worker", knobs)) for _ in range(workers)],
            server,
        )
        for url, replica in zip(found.urls, found.replicas, strict=True):
            _until_ready(url, replica)
        yield found


@contextmanager
def _process(command: str, knobs: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    variables = {f"FIVEFOLD_{name.upper()}": value for name, value in knobs.items()}
    process = subprocess.Popen(
        [sys.executable, "-m", "service", command],
        cwd=ROOT,
        env={**os.environ, **variables},
        stdout=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            assert process.wait(30) == 0, f"{command} ended with {process.returncode}"


def _until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        with suppress(httpx.TransportError):
            if httpx.get(f"{url}/healthz/ready", timeout=5).status_code == 200:
                return
        with suppress(subprocess.TimeoutExpired):
            raise AssertionError(f"{url} ended with {process.wait(0.1)}")
    raise AssertionError(f"{url} is not ready after a minute")
