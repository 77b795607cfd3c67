"""A real service in a process of its own, its time to ready and its resident memory."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx


@dataclass(frozen=True)
class Server:
    """A running service."""

    url: str
    pid: int
    seconds_to_ready: float

    def resident_mb(self) -> float:
        """Resident memory in MB, as /proc has it."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) * 1024 / 1e6


@contextmanager
def running(**settings: str) -> Iterator[Server]:
    """`python -m service` with FIVEFOLD_* settings, ready; stopped at the end."""
    port = _free_port()
    variables = {f"FIVEFOLD_{name.upper()}": value for name, value in settings.items()}
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "service"],
        env={**os.environ, **variables, "FIVEFOLD_PORT": str(port), "FIVEFOLD_LOG_LEVEL": "error"},
        stdout=subprocess.DEVNULL,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        while not _ready(url):
            if process.poll() is not None:
                raise RuntimeError(f"the service ended with {process.returncode} before it was ready")
            time.sleep(0.02)
        yield Server(url, process.pid, time.perf_counter() - began)
    finally:
        process.terminate()
        process.wait(30)


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz/ready", timeout=1).status_code == 200
    except httpx.TransportError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
