"""A build whose messages have more fields joins under load, and the older one leaves, in either order."""

import asyncio
import signal
from collections import Counter
from collections.abc import Sequence

import httpx
import numpy as np
import pytest
from chaos.asking import ROW, SCALE, client_of, works
from chaos.history import History
from chaos.knobs import Start
from chaos.processes import Member
from chaos.settled import settled
from queue_server import Server
from waiting import eventually

LOAD = "/v1/admin/models/toy-affine/load"
LATER = {"prefer": "respond-async"}
CLIENTS, ANSWERS = 2, 20
UNREADABLE_SECONDS = 5.0


class Load:
    """Clients that ask the replicas in turn, as behind a balancer, and remember what was accepted."""

    def __init__(self, http: httpx.AsyncClient, history: History, replica: Member) -> None:
        self._http, self._history = http, history
        self.replicas, self.statuses = [replica], Counter[int]()
        self._asking, self._over, self._place = Counter[Member](), False, 0

    async def run(self) -> None:
        """One client, until it is over: an answer now, and one later that another replica is asked for."""
        while not self._over:
            self._place -= 1  # below zero nothing misbehaves
            place, asked = self._place, {"rows": [[self._place, 1, 2, 3]]}
            wanted = [2 * place + 1, 3, 5, 7]
            now = await self._ask("POST", SCALE, json=asked)
            assert now.json()["items"][0]["row"] == wanted
            later = await self._ask("POST", SCALE, json=asked, headers=LATER)
            self._history.expected[later.json()["id"]] = [np.float32(wanted).tobytes()]
            await self._history.events(later.json()["id"])
            again = await self._ask("GET", later.headers["location"])
            assert again.json()["result"]["items"][0]["row"] == wanted

    async def answer_more(self) -> None:
        """Until every client has had some more answers."""
        before = self.statuses.total()
        await eventually(lambda: asyncio.sleep(0, self.statuses.total() >= before + ANSWERS))

    async def leave_out(self, replica: Member) -> None:
        self.replicas.remove(replica)
        await eventually(lambda: asyncio.sleep(0, not self._asking[replica]))

    def end(self) -> None:
        self._over = True

    async def _ask(self, method: str, path: str, **options: object) -> httpx.Response:
        replica = self.replicas[self.statuses.total() % len(self.replicas)]
        self._asking[replica] += 1
        try:
            answer = await self._http.request(method, replica.url + path, **options)
        finally:
            self._asking[replica] -= 1
        self.statuses[answer.status_code] += 1
        assert answer.status_code in (200, 202), answer.text
        return answer


@pytest.mark.parametrize("order", [("worker", "api"), ("api", "worker")], ids="-".join)
async def test_a_build_with_more_fields_takes_over_under_load(
    start: Start, history: History, server: Server, order: Sequence[str]
) -> None:
    members = {"worker": start("worker"), "api": start("api")}
    async with httpx.AsyncClient(timeout=10.0) as http, asyncio.TaskGroup() as group:
        load = Load(http, history, members["api"])
        for _ in range(CLIENTS):
            group.create_task(load.run())
        await load.answer_more()
        for role in order:
            leaving, members[role] = members[role], await _join(start, role, load)
            await load.answer_more()
            await _order_and_read_all(http, [leaving, *members.values()], members["api"])
            if role == "api":
                await load.leave_out(leaving)
            leaving.signal(signal.SIGTERM)
            assert await asyncio.to_thread(leaving.exit_code) == 0
            await load.answer_more()
        load.end()
    assert set(load.statuses) == {200, 202}
    await settled(history, server, jobs=len(history.expected), worst_attempts=1)


async def test_a_job_in_a_format_that_no_worker_reads_keeps_its_place_and_then_is_a_dead_letter(
    start: Start, history: History, server: Server
) -> None:
    start("worker", unreadable_seconds=UNREADABLE_SECONDS)
    api = start("api", "next_build_that_writes_format_2")
    async with client_of(api) as http:
        accepted = await http.post(SCALE, json=ROW, headers=LATER)
        assert accepted.status_code == 202
        await _others_are_served(history)
        assert await _state(http, accepted) == "queued"
        await eventually(history.broker.dead)
        (dead,) = await history.broker.dead()
        assert (dead.id, dead.reason) == (accepted.json()["id"], "no worker has read its format 2 for 5 s")
        assert await _state(http, accepted) == "failed"
    await settled(history, server, jobs=len(history.expected), worst_attempts=1)


async def test_a_job_in_a_later_format_is_served_by_the_worker_that_reads_it(
    start: Start, history: History, server: Server
) -> None:
    start("worker")
    api = start("api", "next_build_that_writes_format_2")
    async with client_of(api) as http:
        waiting = asyncio.ensure_future(http.post(SCALE, json=ROW))
        await eventually(lambda: _waits(history))
        await _others_are_served(history)
        assert not waiting.done()
        newer = start("worker", "next_build", wait=False)
        await asyncio.to_thread(newer.wait_until_ready)
        answer = await waiting
        assert (answer.status_code, answer.json()["items"][0]["row"]) == (200, [3, 5, 7, 9])
    await settled(history, server, jobs=len(history.expected), worst_attempts=1)


async def _join(start: Start, role: str, load: Load) -> Member:
    member = start(role, "next_build", wait=False)
    await asyncio.to_thread(member.wait_until_ready)
    if role == "api":
        async with client_of(member) as http:  # its first answer builds what later ones use: the balancer waits for it
            await eventually(lambda: works(http))
        load.replicas.append(member)
    return member


async def _order_and_read_all(http: httpx.AsyncClient, members: Sequence[Member], api: Member) -> None:
    """Every worker hears an order from this replica; no process has met a message that it cannot read."""
    assert (await http.post(api.url + LOAD)).is_success
    for member in members:
        metrics = (await http.get(f"{member.url}/metrics")).text
        assert "fivefold_unreadable_messages_total" in metrics
        assert "fivefold_unreadable_messages_total{" not in metrics


async def _others_are_served(history: History) -> None:
    for job_id in await history.submit_all(history.scale(1) for _ in range(20)):
        await history.events(job_id)


async def _state(http: httpx.AsyncClient, accepted: httpx.Response) -> str:
    return str((await http.get(accepted.headers["location"])).json()["state"])


async def _waits(history: History) -> bool:
    return (await history.broker.depth(str(history.model))).waiting_jobs == 1
