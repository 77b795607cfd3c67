"""Real processes of the service: workers and API replicas, started in milliseconds, killed, stopped, replaced."""

import http.client
import multiprocessing
import os
import signal
from contextlib import suppress
from pathlib import Path
from unittest.mock import patch

from chaos import entry
from queue_server import free_port
from waiting import until

ROOT = Path(__file__).parents[2]
PRELOADED = [
    "chaos.family",
    "service.__main__",
    "service.assembly",
    "service.api.app",
    "service.broker.redis",
    "uvicorn",
    "uvloop",
]
PRELOADED += ["service.worker.loop", "service.worker.probe", "service.runtime.onnx"]


class Member:
    """One process of the service; both kinds answer /healthz on their port.

    Processes fork from a server that has imported everything; one with a fault of its own imports it anew.
    """

    def __init__(self, role: str, knobs: dict[str, object], fault: str | None = None, port: int | None = None) -> None:
        self.port = port or free_port()
        knobs = {**knobs, "port" if role == "api" else "probe_port": self.port}
        context = multiprocessing.get_context("forkserver" if fault is None else "spawn")
        self.process = context.Process(target=entry.run, args=(role, knobs, fault), daemon=True)
        with patch.dict(os.environ, PYTHONPATH=os.pathsep.join(map(str, (ROOT, ROOT / "tests")))):
            multiprocessing.set_forkserver_preload(PRELOADED)
            self.process.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def alive(self) -> bool:
        return self.process.is_alive()

    @property
    def ready(self) -> bool:
        """A worker is ready by its own heartbeat, a replica by that of a worker."""
        return self.status("/healthz/ready") == 200

    def status(self, path: str, seconds: float = 2.0) -> int:
        """Of a GET; 0 without an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    def wait_until_ready(self) -> None:
        until(lambda: self.ready or not self.alive)
        assert self.alive, f"the process ended with {self.process.exitcode}"

    def signal(self, number: int) -> None:
        assert self.process.pid is not None
        with suppress(ProcessLookupError):
            os.kill(self.process.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)

    def exit_code(self, seconds: float = 15.0) -> int:
        """Once it has ended."""
        self.process.join(seconds)
        assert self.process.exitcode is not None, f"alive after {seconds:g} s"
        return self.process.exitcode

    def end(self) -> None:
        """However it is: dead and reaped afterwards."""
        self.signal(signal.SIGKILL)
        self.process.join(15.0)
