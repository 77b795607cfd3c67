"""Images and text that were being made when their worker left, or died, are made by another: the same bytes."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from machines import machines
from waiting import until

from benchmarks.server import Server
from fivefold import Client

# A worker that leaves has no time to finish: all that it holds is handed over.
KNOBS = {"models": '["diffusion-fashion", "transformer-english"]', "shutdown_seconds": "0.01", "lease_seconds": "2"}
IMAGES = {"n": 2, "seed": 11, "steps": 250, "class_name": "bag"}
TEXTS = {"n": 24, "seed": 11, "prompt": "The people of the United States", "max_tokens": 200}


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGKILL])
def test_another_worker_makes_the_same_images_and_the_same_texts(
    service: Server, tmp_path: Path, sign: signal.Signals
) -> None:
    with Client(service.url) as alone:
        expected = [alone.diffusion_sample(**IMAGES), alone.transformer_generate(**TEXTS)]
    with machines(tmp_path, replicas=1, workers=2, **KNOBS) as fleet, Client(fleet.urls[0]) as client:
        first, heir = fleet.workers
        until(lambda: len(client.admin.queue().workers) == 2)
        with asleep(heir.pid):
            jobs = [client.diffusion_sample.submit(**IMAGES), client.transformer_generate.submit(**TEXTS)]
            until(lambda: jobs[0].status().progress > 0 and jobs[1].status().state == "running")
            os.kill(first.pid, sign)
            assert first.wait(10) == (0 if sign == signal.SIGTERM else -sign)
            assert not all(job.status().ended_at for job in jobs)
        answers = [job.wait(timeout=60) for job in jobs]
    assert [answer.meta.receipt for answer in answers] == [answer.meta.receipt for answer in expected]
    assert [answer.items for answer in answers] == [answer.items for answer in expected]


@contextmanager
def asleep(pid: int) -> Iterator[None]:
    """A process that does nothing meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
