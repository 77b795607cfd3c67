"""`python -m service` is two processes: what happens to requests and to the other one where one of them ends."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import queue_server
from waiting import until

from fivefold import Client

ROOT = Path(__file__).parents[2]
KNOBS = {
    "models": '["diffusion-fashion", "flow-shuttle"]',
    "intra_op_threads": "1",
    "heartbeat_seconds": "0.1",
    "shutdown_seconds": "60",
    "log_level": "error",
}
START_SECONDS, GRACE_SECONDS = 60.0, 10.0
IMAGES = [{"n": 1, "seed": seed, "steps": 100, "class_name": "bag"} for seed in (1, 5, 9)]
ROWS = {"rows": [[0.5] * 9, [1.0] * 9]}


@dataclass(frozen=True)
class TwoProcesses:
    """The API's process, its address, and the file of what both processes log."""

    api: subprocess.Popen[bytes]
    url: str
    log: Path

    @property
    def worker(self) -> int:
        """The id of the process that the API's has started."""
        (pid,) = children(self.api.pid)
        return pid


@pytest.fixture
def service(tmp_path: Path) -> Iterator[TwoProcesses]:
    """Both processes, ready; what is left of them is stopped at the end."""
    log, port = tmp_path / "log", queue_server.free_port()
    variables = {f"FIVEFOLD_{name.upper()}": value for name, value in {**KNOBS, "port": str(port)}.items()}
    url = f"http://127.0.0.1:{port}"
    with log.open("wb") as errors, ended(_start(variables, errors)) as api:
        until(lambda: api.poll() is not None or answers(f"{url}/healthz/ready"), START_SECONDS)
        yield TwoProcesses(api, url, log)


def _start(variables: dict[str, str], errors: Any) -> subprocess.Popen[bytes]:
    command, env = [sys.executable, "-m", "service"], {**os.environ, **variables}
    return subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=errors)


@contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


def answers(url: str) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(url, timeout=5).status_code == 200
    return False


def children(pid: int) -> list[int]:
    """The ids of the processes that a process has started and that still run."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def runs(pid: int) -> bool:
    """False for a process that has ended, waited for or not."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@contextmanager
def asking(client: Client) -> Iterator[list[Future[Any]]]:
    """Requests that wait for their answers, and of which at least one is on the device."""
    with ThreadPoolExecutor(len(IMAGES)) as pool:
        calls = [pool.submit(client.diffusion_sample, **images) for images in IMAGES]
        until(lambda: any(model.running_jobs for model in client.admin.queue().models))
        assert not any(call.done() for call in calls)
        yield calls


def contents(answers_given: Sequence[Any]) -> list[Any]:
    """What an answer says of its request, and nothing of its timing."""
    return [(answer.items, answer.meta.receipt) for answer in answers_given]


def test_requests_that_lose_their_worker_are_answered_by_the_next_one(service: TwoProcesses) -> None:
    with Client(service.url, max_retries=0) as client:
        expected = [client.diffusion_sample(**images) for images in IMAGES]
        first = service.worker
        (status,) = client.admin.queue().workers
        with asking(client) as calls:
            os.kill(first, signal.SIGKILL)

            def answers_and_has_a_new_worker() -> bool:
                assert answers(f"{service.url}/healthz/live")
                return any(worker.id != status.id for worker in client.admin.queue().workers)

            until(answers_and_has_a_new_worker, START_SECONDS)
            assert contents([call.result(START_SECONDS) for call in calls]) == contents(expected)
        assert service.worker != first
        assert len(client.flow_encode(model="flow-shuttle", **ROWS).results) == 2


def test_a_stopped_service_answers_what_it_accepted_and_leaves_no_process(service: TwoProcesses) -> None:
    worker = service.worker
    with Client(service.url, max_retries=0) as client:
        expected = [client.diffusion_sample(**images) for images in IMAGES]
        with asking(client) as calls:
            service.api.terminate()
            assert contents([call.result(START_SECONDS) for call in calls]) == contents(expected)
    assert service.api.wait(GRACE_SECONDS) == 0
    assert not runs(worker)
    assert service.log.read_text() == ""  # a worker that fails at its end says so


def test_a_worker_does_not_outlive_the_service_that_started_it(service: TwoProcesses) -> None:
    worker = service.worker
    service.api.kill()
    service.api.wait(GRACE_SECONDS)
    until(lambda: not runs(worker))


def test_the_metrics_of_the_service_hold_those_of_its_worker(service: TwoProcesses) -> None:
    with Client(service.url) as client:
        model = client.flow_encode(model="flow-shuttle", **ROWS).meta.model
    steps = f'fivefold_steps_total{{model="{model.name}@{model.version}"'
    until(lambda: steps in httpx.get(f"{service.url}/metrics").text)
    rows = f'fivefold_rows_total{{end="done",model="{model.name}@{model.version}"}} 2.0'
    assert rows in httpx.get(f"{service.url}/metrics").text
