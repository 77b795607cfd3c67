"""The round trip between two steps: a step may overlap it, and nothing that it carries is lost."""

import asyncio
from collections.abc import Sequence
from typing import cast

import numpy as np
import pytest
import toy

from model_store.store import ModelRef
from service.broker.base import Consumer, Emission, QueueAway
from service.jobs import Block, Events, Job, Lease
from service.worker.exchange import Exchange


class SlowQueue:
    """Holds every call until it is let go, and refuses some."""

    def __init__(self) -> None:
        self.let_go, self.away = asyncio.Event(), False
        self.published: list[str] = []

    async def emit(self, emissions: Sequence[Emission]) -> Sequence[Lease]:
        await self.let_go.wait()
        if self.away:
            raise QueueAway("away")
        self.published += [lease.job.id for lease, _ in emissions]
        return []

    async def take(self, *leases: Lease) -> Sequence[Lease]:
        await self.let_go.wait()
        return leases


@pytest.fixture
async def queue() -> SlowQueue:
    return SlowQueue()


@pytest.fixture
def lost() -> list[Lease]:
    return []


@pytest.fixture
def exchange(queue: SlowQueue, lost: list[Lease]) -> Exchange:
    return Exchange(cast(Consumer, queue), lost.extend)


def lease(name: str) -> Lease:
    rows = np.arange(1)
    job = Job(
        name, ModelRef("toy-affine", "1", "0" * 64), "toy/count", Block(toy.ToyCounting(1), rows, rows, np.ones(1)), 1.0
    )
    return Lease(job, 1, 1)


def add(exchange: Exchange, *names: str) -> None:
    for name in names:
        exchange.add(lease(name), [Events(name, "done", np.arange(1), np.arange(1), {})])


async def test_a_round_trip_is_not_waited_for_while_there_is_a_step_to_run(
    exchange: Exchange, queue: SlowQueue
) -> None:
    exchange.begin(queue.take(lease("next")))
    assert list(await exchange.taken(wait=False)) == []
    assert exchange.under_way
    queue.let_go.set()
    assert [one.job.id for one in await exchange.taken(wait=True)] == ["next"]
    assert not exchange.under_way


async def test_what_steps_give_meanwhile_goes_with_the_next_round_trip(exchange: Exchange, queue: SlowQueue) -> None:
    add(exchange, "a")
    exchange.begin(queue.take())
    add(exchange, "b", "a")
    queue.let_go.set()
    await exchange.taken(wait=True)
    assert queue.published == ["a"]
    exchange.begin(queue.take())
    await exchange.taken(wait=True)
    assert queue.published == ["a", "b", "a"]


async def test_a_queue_that_is_away_loses_neither_results_nor_jobs(exchange: Exchange, queue: SlowQueue) -> None:
    queue.let_go.set()
    queue.away = True
    add(exchange, "a")
    exchange.begin(queue.take(lease("next")))
    with pytest.raises(QueueAway):
        await exchange.taken(wait=True)
    add(exchange, "b")
    queue.away = False
    assert [one.job.id for one in await exchange.taken(wait=False)] == ["next"]
    await exchange.finish()
    assert queue.published == ["a", "b"]
