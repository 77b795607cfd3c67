"""A service of a given checkout in a process of its own."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]
START_SECONDS = 90.0


@contextmanager
def serving(tree: Path) -> Iterator[str]:
    """The address of `python -m service` of the code and the models in `tree`, ready; stopped at the end."""
    url = f"http://127.0.0.1:{(port := _free_port())}"
    variables = {"FIVEFOLD_PORT": str(port), "FIVEFOLD_INTRA_OP_THREADS": "1", "FIVEFOLD_LOG_LEVEL": "error"}
    process = subprocess.Popen(
        [sys.executable, "-m", "service"],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree), **variables},
        stdout=subprocess.DEVNULL,
    )
    try:
        _wait_until_ready(url, process)
        yield url
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def checkout(commit: str) -> Iterator[Path]:
    """The tree of a commit, in a temporary git worktree."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "base"
        git("worktree", "add", "--detach", str(tree), commit)
        try:
            yield tree
        finally:
            git("worktree", "remove", "--force", str(tree))


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def _wait_until_ready(url: str, process: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        with suppress(httpx.TransportError):
            if httpx.get(f"{url}/healthz/ready", timeout=5).status_code == 200:
                return
        if process.poll() is not None:
            raise RuntimeError(f"the service ended with {process.returncode} before it was ready")
        time.sleep(0.05)
    raise RuntimeError(f"{url} is not ready after {START_SECONDS:g} s")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
