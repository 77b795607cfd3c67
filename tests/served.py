"""A real service in this process: uvicorn on an ephemeral port, the worker in its thread."""

import asyncio
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import uvicorn
from toy import TOY, ToyScaling, open_sessions

from fivefold import Client
from model_store.store import Model, Store
from service.arrays import Columns
from service.assembly import make_server, make_worker, memory_broker
from service.families.family import Family, Sessions
from service.families.session import OneShot
from service.graph import Graph
from service.jobs import Block
from service.settings import Settings
from service.telemetry import Metrics
from service.worker.loop import Worker


@dataclass(frozen=True)
class Service:
    """A service under test."""

    url: str
    worker: Worker


@dataclass
class Gate:
    """A toy family whose scale session waits at each step until the gate is open, and counts what it ran."""

    opened: threading.Event = field(default_factory=threading.Event)
    reached: threading.Event = field(default_factory=threading.Event)
    batches: list[int] = field(default_factory=list)

    @property
    def family(self) -> Family:
        def gated(model: Model, graphs: Mapping[str, Graph], settings: Settings) -> Sessions:
            sessions = open_sessions(model, graphs, settings)
            inner = sessions[ToyScaling].run

            def run(blocks: Sequence[Block]) -> Sequence[Columns]:
                self.reached.set()
                assert self.opened.wait(15)
                self.batches.append(sum(map(len, blocks)))
                return inner(blocks)

            return {**sessions, ToyScaling: OneShot(run)}

        return Family("toy", TOY.pipelines, gated)


@contextmanager
def serving(
    store: Store, families: Sequence[Family] = (TOY,), *, working: bool = True, **settings
) -> Iterator[Service]:
    """The service, ready; without its worker where `working` is False. Its aliases end with it."""
    knobs = {"port": 0, "intra_op_threads": 1, "heartbeat_seconds": 0.05, "log_level": "error", **settings}
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory())
        knobs = {"aliases_file": Path(folder) / "aliases.json", **knobs}
        given, metrics = Settings(store=store.root, **knobs), Metrics()
        broker = memory_broker(given)
        worker = make_worker(given, broker, store, families, metrics)
        server = make_server(given, broker, store, families, metrics)
        if working:
            stack.enter_context(in_thread(worker))
        thread = threading.Thread(target=server.run)
        thread.start()
        stack.callback(thread.join)
        stack.callback(setattr, server, "should_exit", True)
        _until(lambda: server.started, thread)
        service = Service(_address(server), worker)
        with Client(service.url) as client:
            _until(lambda: not working or client.ready(), thread)
        yield service


@contextmanager
def in_thread(worker: Worker) -> Iterator[None]:
    """Run the worker on an event loop of its own; at the end it finishes its rows."""
    thread = threading.Thread(target=lambda: asyncio.run(worker.run()), name="worker")
    thread.start()
    try:
        yield
    finally:
        worker.stop()
        thread.join()


def _until(condition, thread: threading.Thread) -> None:
    pause = threading.Event()
    while not condition():
        assert thread.is_alive()
        pause.wait(0.01)


def _address(server: uvicorn.Server) -> str:
    host, port = server.servers[0].sockets[0].getsockname()[:2]
    return f"http://{host}:{port}"
