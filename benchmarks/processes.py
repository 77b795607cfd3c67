"""Processes under measurement: started, stopped, and what they cost."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def python(*arguments: object) -> list[str]:
    return [sys.executable, *map(str, arguments)]


@contextmanager
def started(command: Sequence[str], **settings: object) -> Iterator["subprocess.Popen[bytes]"]:
    """A process with FIVEFOLD_* settings; at the end it is told to stop, and what is left of its group is killed."""
    variables = {f"FIVEFOLD_{name.upper()}": str(value) for name, value in settings.items()}
    environment = {**os.environ, "FIVEFOLD_LOG_LEVEL": "error", **variables}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of these processes and all that came from them, as /proc/<pid>/stat has it."""
    fields = _stats()
    own = descendants(pids)
    return sum(int(fields[pid][11]) + int(fields[pid][12]) for pid in own if pid in fields) / TICKS_PER_S


def descendants(pids: Iterable[int]) -> set[int]:
    """These processes and all that came from them."""
    parents, own = {pid: int(stat[1]) for pid, stat in _stats().items()}, set(pids)
    while more := {pid for pid, parent in parents.items() if parent in own} - own:
        own |= more
    return own


def _stats() -> dict[int, list[str]]:
    paths = Path("/proc").glob("[0-9]*/stat")
    return {int(path.parent.name): stat for path in paths if (stat := _stat(path))}


def _stat(path: Path) -> list[str] | None:
    """The fields from the third on: those after the name, which may hold spaces."""
    try:
        return path.read_text().rpartition(")")[2].split()
    except OSError:  # it has just ended
        return None
