"""A real service in a process of its own, its time to ready and its resident memory."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.processes import descendants, free_port, python, started


@dataclass(frozen=True)
class Server:
    """A running service."""

    url: str
    pid: int
    seconds_to_ready: float

    def resident_mb(self) -> float:
        """Resident memory in MB of the service's processes, as /proc has it."""
        return sum(_resident_kb(pid) for pid in descendants([self.pid])) * 1024 / 1e6


@contextmanager
def running(command: Sequence[str] = ("service",), **settings: object) -> Iterator[Server]:
    """`python -m service` (or another module's command) with FIVEFOLD_* settings, ready; stopped at the end."""
    port, began = free_port(), time.perf_counter()
    with started(python("-m", *command), port=port, **settings) as process:
        url = f"http://127.0.0.1:{port}"
        while not answers(f"{url}/healthz/ready"):
            if process.poll() is not None:
                raise RuntimeError(f"the service ended with {process.returncode} before it was ready")
            time.sleep(0.02)
        yield Server(url, process.pid, time.perf_counter() - began)


def _resident_kb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def answers(url: str) -> bool:
    """True where it is there and well."""
    try:
        return httpx.get(url, timeout=1).status_code == 200
    except httpx.TransportError:
        return False
