"""A mixed load over HTTP gives each request the bytes it gets alone, and bad requests among it harm nobody."""

import asyncio
import random
from pathlib import Path

import pytest
from machines import machines
from mixed import load, receipts

from benchmarks.server import Server
from fivefold import AsyncClient, errors, flow


async def test_every_replica_and_worker_answers_with_the_same_bytes(service: Server, tmp_path: Path) -> None:
    calls = load()
    alone = await receipts(service.url, calls, at_once=1)
    with machines(tmp_path, replicas=2, workers=2) as between:
        answers = await asyncio.gather(*(receipts(url, calls, at_once=24) for url in between.urls))
    assert answers == [alone, alone]


async def bad_requests(url: str, count: int) -> None:
    async with AsyncClient(url, max_retries=0) as client:
        for _ in range(count):
            with pytest.raises(errors.InvalidInput, match="10 numbers given, 9 expected"):
                await client.call(flow.ENCODE, flow.FlowEncodeRequest(model="flow-shuttle", rows=[[0.0] * 10]))


async def test_a_mixed_load_gives_each_request_the_bytes_it_gets_alone(service: Server) -> None:
    calls = load()
    alone = dict(zip(range(len(calls)), await receipts(service.url, calls, at_once=1), strict=True))
    order = [index for index in range(len(calls)) for _ in range(3)]
    random.Random(1).shuffle(order)
    together, _ = await asyncio.gather(
        receipts(service.url, [calls[index] for index in order], at_once=48), bad_requests(service.url, 10)
    )
    assert together == [alone[index] for index in order]
