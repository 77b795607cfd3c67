"""The service under attack: a process of its own, its peak memory, and its liveness beside an attack."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

ROOT = Path(__file__).parents[2]
MODELS = '["flow-shuttle", "vae-shuttle", "vae-fashion", "transformer-english"]'
START_SECONDS = 60.0


class Target:
    """A running service. `pid` is that of its API process: it reads what clients send and keeps what is kept."""

    def __init__(self, port: int, pid: int) -> None:
        self.port, self.pid = port, pid
        self.address = ("127.0.0.1", port)
        self.url = f"http://127.0.0.1:{port}"

    def client(self, **options) -> httpx.Client:
        """Waits as long as any bound of the table."""
        return httpx.Client(base_url=self.url, **{"timeout": 120.0, "trust_env": False, **options})

    def connect(self, seconds: float = 60.0) -> socket.socket:
        """A connection whose reads and writes end after `seconds`."""
        return socket.create_connection(self.address, seconds)

    def head(self, line: str, **fields: object) -> bytes:
        """The head of a request: `line` is method and path; an underscore in a field's name stands for a hyphen."""
        lines = [f"{line} HTTP/1.1", f"host: 127.0.0.1:{self.port}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
        return "\r\n".join([*lines, "", ""]).encode()

    @property
    def resident_bytes(self) -> int:
        return self._status("VmRSS")

    @property
    def peak_bytes(self) -> int:
        """The most since `forget_peak`."""
        return self._status("VmHWM")

    def forget_peak(self) -> None:
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def _status(self, name: str) -> int:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


@contextmanager
def attacked(**settings: object) -> Iterator[Target]:
    """`python -m service` with these settings, ready; stopped at the end."""
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory())
        with closing(socket.create_server(("127.0.0.1", 0))) as listening:
            port = listening.getsockname()[1]
        given = {"port": port, "models": MODELS, "log_level": "error", "aliases_file": f"{folder}/aliases.json"}
        variables = {f"FIVEFOLD_{name.upper()}": str(value) for name, value in {**given, **settings}.items()}
        command = [sys.executable, "-m", "service"]
        log = stack.enter_context(Path(folder, "log").open("w+b"))
        process = subprocess.Popen(command, cwd=ROOT, env=os.environ | variables, stdout=log, stderr=log)
        stack.callback(process.wait)
        stack.callback(process.terminate)
        target = Target(port, process.pid)
        _wait_until_ready(target, process)
        yield target


def _wait_until_ready(target: Target, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    with target.client() as http:
        while time.monotonic() < deadline:
            assert process.poll() is None, f"the service ended with {process.returncode}"
            try:
                if http.get("/healthz/ready").is_success:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
    raise AssertionError(f"not ready after {START_SECONDS:g} s")
