"""Replicas of the API that are killed or restarted, and workers with them: no client loses a call."""

import asyncio
import signal

import httpx
import toy
from chaos.asking import COUNT, client_of
from chaos.history import History
from chaos.knobs import Start
from queue_server import Server
from waiting import eventually

from fivefold import AsyncClient

SLOW = {"steps": 60, "seed": 5}


async def test_another_replica_answers_for_a_killed_one_by_the_same_job(
    start: Start, history: History, server: Server
) -> None:
    start("worker")
    killed, other = start("api"), start("api")
    key = {"idempotency-key": "one"}
    async with client_of(killed) as first, client_of(other) as second:
        asked = asyncio.ensure_future(first.post(COUNT, json=SLOW, headers=key))
        await eventually(history.running)
        killed.kill()
        assert isinstance((await asyncio.gather(asked, return_exceptions=True))[0], httpx.TransportError)
        answer = await second.post(COUNT, json=SLOW, headers=key)
        assert answer.status_code == 200
        alone = await second.post(COUNT, json=SLOW)
        assert answer.json()["items"] == alone.json()["items"]
    with server.client as client:
        assert len(list(client.scan_iter("*}:job:*"))) == 2


async def test_restarting_everything_in_turn_under_load_fails_no_call(start: Start) -> None:
    workers, replicas = [start("worker"), start("worker")], [start("api"), start("api")]
    over, answers = asyncio.Event(), list[bool]()

    async def load(port: int) -> None:
        async with AsyncClient(f"http://127.0.0.1:{port}", max_retries=10) as client:
            while not over.is_set():
                place = -len(answers)  # below zero nothing misbehaves
                request = toy.ToyScaleRequest(rows=[[place, 1, 2, 3]])
                answers.append((await client.call(toy.SCALE, request)).items[0].row == [2 * place + 1, 3, 5, 7])

    async with asyncio.TaskGroup() as group:
        for replica in replicas * 3:
            group.create_task(load(replica.port))
        for leaving in (*workers, *replicas):
            answered = len(answers)
            await eventually(lambda: asyncio.sleep(0, len(answers) > answered + 10))  # noqa: B023
            role = "worker" if leaving in workers else "api"
            leaving.signal(signal.SIGTERM)
            assert await asyncio.to_thread(leaving.exit_code) == 0
            heir = start(role, wait=False, port=leaving.port)
            await asyncio.to_thread(heir.wait_until_ready)
        over.set()
    assert all(answers)
    assert len(answers) > 40
