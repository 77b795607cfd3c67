"""A worker's port: alive, ready only while it is, and its metrics."""

import asyncio
from typing import Any

import httpx
from waiting import eventually

from service.settings import Settings
from service.telemetry import Metrics
from service.worker.loop import Worker
from service.worker.probe import probe

PROBED = Settings(intra_op_threads=1, heartbeat_seconds=0.02, probe_port=0)


async def test_a_worker_is_ready_from_its_first_heartbeat_until_it_is_told_to_stop(
    make_worker: Any, running: Any
) -> None:
    worker: Worker = make_worker(PROBED)
    with probe(PROBED, worker, worker.metrics) as port:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:

            async def status(path: str) -> int:
                return (await http.get(path)).status_code

            async def is_ready() -> bool:
                return await status("/healthz/ready") == 200

            assert (await status("/healthz/live"), await status("/healthz/ready")) == (200, 503)
            async with running(worker):
                await eventually(is_ready)
                worker.stop()
                assert (await status("/healthz/live"), await status("/healthz/ready")) == (200, 503)


async def test_the_port_has_metrics_and_nothing_else(make_worker: Any) -> None:
    worker: Worker = make_worker(PROBED)
    worker.metrics.steps.labels("toy-affine@1", "scale").inc()
    with probe(PROBED, worker, worker.metrics) as port:
        metrics = await asyncio.to_thread(httpx.get, f"http://127.0.0.1:{port}/metrics")
        assert 'fivefold_steps_total{model="toy-affine@1",session_kind="scale"} 1.0' in metrics.text
        assert (await asyncio.to_thread(httpx.get, f"http://127.0.0.1:{port}/v1/models")).status_code == 404


async def test_nothing_listens_without_a_port(make_worker: Any) -> None:
    with probe(Settings(intra_op_threads=1), make_worker(), Metrics()) as port:
        assert port == 0
