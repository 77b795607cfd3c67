"""`python -m benchmarks.clients produce|consume URL`: the bare broker's two sides, without HTTP and without a model."""

import argparse
import asyncio
import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import uvloop

from benchmarks import echo
from benchmarks.load import Figures, figures
from model_store.store import ModelRef
from service.broker.base import Broker, Limits
from service.broker.redis import RedisBroker
from service.families.family import kinds_of
from service.jobs import Events, Job, Lease, block_of
from service.settings import Settings

BARE = ModelRef("bare", "1", "0" * 64)
LIMITS = Limits.of(Settings(max_queue_seconds=3600.0))
KINDS = kinds_of([echo.echo_family()])
X = np.zeros((1, echo.WIDTH), np.float32)


def echo_job(model: ModelRef, predicted_seconds: float = 1e-6) -> Job:
    name = f"{model}-{secrets.token_hex(8)}"
    return Job(name, model, echo.PATH, block_of(echo.Echoing(), 1, x=X), predicted_seconds)


async def produce(broker: Broker, concurrency: int, seconds: float, model: ModelRef, predicted_s: float) -> Figures:
    """`concurrency` clients that each submit the next job when the last is answered."""
    began = time.perf_counter()

    async def client() -> list[float]:
        latencies = []
        while (sent := time.perf_counter()) < began + seconds:
            accepted = await broker.submit(echo_job(model, predicted_s))
            (end,) = await broker.ends(accepted.job_id)
            assert end.kind == "done", end
            latencies.append(time.perf_counter() - sent)
        return latencies

    latencies = await asyncio.gather(*(client() for _ in range(concurrency)))
    return figures([latency for own in latencies for latency in own], time.perf_counter() - began)


async def consume(broker: Broker, jobs_per_turn: int = 32) -> None:
    """The worker's loop without a worker: publish what has ended and take what is next, for ever."""
    leases: Sequence[Lease] = ()
    while True:
        emissions = [(lease, [done(lease.job)]) for lease in leases]
        published = broker.emit(emissions) if emissions else asyncio.sleep(0)
        taking = broker.take([str(BARE)], budget=jobs_per_turn * 1e-6, wait=0.0 if emissions else 0.5)
        _, leases = await asyncio.gather(published, taking)


def done(job: Job) -> Events:
    rows, block = len(job.block), job.block
    return Events(
        job.id, "done", block.rows, np.zeros(rows, np.int64), block.columns, None, np.zeros(rows), np.ones(rows)
    )


async def run(asked: argparse.Namespace) -> None:
    broker = RedisBroker(asked.url, LIMITS, KINDS)
    if asked.side == "consume":
        await consume(broker)
    model = BARE if asked.digest is None else ModelRef(echo.NAME, "1", asked.digest)
    measured = await produce(broker, asked.concurrency, asked.seconds, model, asked.predicted_seconds)
    print(json.dumps(asdict(measured)))
    await broker.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.clients", description=__doc__)
    parser.add_argument("side", choices=["produce", "consume"])
    parser.add_argument("url")
    parser.add_argument("--digest", help="of the echo model that workers serve; without it, for `consume`")
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--predicted-seconds", type=float, default=1e-6)
    uvloop.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
