"""An echo through HTTP: API and worker as two processes over a socket, as two threads, and with Valkey between them."""

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from benchmarks import echo
from benchmarks.load import Figures, closed_loop
from benchmarks.options import Options, spread
from benchmarks.processes import cpu_seconds, python, started
from benchmarks.server import running
from tests import queue_server

CONCURRENCY = (1, 8, 32, 64)


@dataclass(frozen=True)
class Subject:
    """What is measured: where it answers, and the processes that it consists of."""

    url: str
    pids: tuple[int, ...]


@dataclass
class Cell:
    """The runs of one subject at one concurrency."""

    runs: list[Figures] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)

    def rate(self) -> float:
        return sorted(run.requests_per_s for run in self.runs)[len(self.runs) // 2]


Start = Callable[[], AbstractContextManager[Subject]]


def memory() -> AbstractContextManager[Subject]:
    """As `python -m service` has it."""
    return _alone("all")


def threads() -> AbstractContextManager[Subject]:
    """Both in one process, which an engine's crash would end."""
    return _alone("threads")


@contextmanager
def _alone(command: str) -> Iterator[Subject]:
    with _stored() as store, running(("benchmarks.node", command), store=store) as server:
        yield Subject(server.url + echo.PATH, (server.pid,))


@contextmanager
def redis() -> Iterator[Subject]:
    with ExitStack() as stack:
        store, folder = stack.enter_context(_stored()), stack.enter_context(tempfile.TemporaryDirectory())
        queue = stack.enter_context(queue_server.running(Path(folder)))
        settings = {"store": store, "redis_url": queue.url}
        worker = stack.enter_context(started(python("-m", "benchmarks.node", "worker"), **settings))
        server = stack.enter_context(running(("benchmarks.node", "api"), **settings))
        assert queue.process is not None
        yield Subject(server.url + echo.PATH, (server.pid, worker.pid, queue.process.pid))


@contextmanager
def _stored() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        echo.publish_echo(Path(folder))
        yield Path(folder)


def measure(subject: Subject, concurrency: int, seconds: float, cell: Cell) -> None:
    body = json.dumps(echo.BODY).encode()
    before = cpu_seconds(subject.pids)
    cell.runs.append(uvloop.run(closed_loop(subject.url, body, concurrency, seconds)))
    cell.cpu_us.append((cpu_seconds(subject.pids) - before) / cell.runs[-1].requests * 1e6)


def table(subjects: Mapping[str, Start], options: Options) -> None:
    """Every subject started anew for each repeat, in turn, so that all see the same machine; then the table."""
    cells = {(name, concurrency): Cell() for concurrency in CONCURRENCY for name in subjects}
    for _ in range(options.repeats):
        for name, start in subjects.items():
            with start() as subject:
                uvloop.run(closed_loop(subject.url, json.dumps(echo.BODY).encode(), 8, 0.5))
                for concurrency in CONCURRENCY:
                    measure(subject, concurrency, options.seconds, cells[name, concurrency])
    print("| server | clients | requests/s (spread) | p50 ms | p99 ms | CPU us a request (spread) | of `memory` |")
    print("|---|---|---|---|---|---|---|")
    for (name, concurrency), cell in cells.items():
        middle = sorted(cell.runs, key=lambda run: run.requests_per_s)[len(cell.runs) // 2]
        rates = spread([run.requests_per_s for run in cell.runs])
        ratio = cell.rate() / cells["memory", concurrency].rate()
        times = f"{middle.p50_ms:.2f} | {middle.p99_ms:.2f} | {spread(cell.cpu_us)}"
        print(f"| {name} | {concurrency} | {rates} | {times} | {ratio:.2f} |", flush=True)


def main(options: Options) -> None:
    table({"memory": memory, "threads": threads, "redis": redis}, options)
