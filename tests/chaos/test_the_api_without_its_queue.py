"""503 with Retry-After within 1.5 s, alive all the time, not ready within 0.5 s, and no restart to recover."""

import asyncio
import signal

import pytest
from chaos.asking import COUNT, PROBE_SECONDS, ROW, SCALE, client_of, recovers, refuses, timed, works
from chaos.history import History
from chaos.knobs import Start
from chaos.proxy import MODES, Mode, Proxy
from queue_server import Server
from waiting import eventually


async def test_away_at_the_start(start: Start, server: Server) -> None:
    server.kill()
    api = start("api", wait=False)
    start("worker", wait=False)
    async with client_of(api) as http:
        await eventually(lambda: _lives(api))
        await refuses(http)
        server.start()
        await recovers(http, api)


async def test_away_while_it_runs(start: Start, server: Server) -> None:
    start("worker")
    api = start("api")
    async with client_of(api) as http:
        assert await works(http)
        server.kill()
        await refuses(http)
        server.start()
        await recovers(http, api)


@pytest.mark.parametrize("mode", MODES)
async def test_behind_a_bad_network(start: Start, server: Server, proxy: Proxy, mode: Mode) -> None:
    start("worker")
    api = start("api", redis_url=proxy.url)
    async with client_of(api) as http:
        assert await works(http)
        proxy.set(mode)
        await refuses(http)
        proxy.set("pass")
        await recovers(http, api)


async def test_the_wrong_password(start: Start, server: Server) -> None:
    start("worker")
    api = start("api")
    with server.client as client:
        client.config_set("requirepass", "secret")
        client.client_kill_filter(_type="normal", skipme=True)
        client.client_kill_filter(_type="pubsub")
        async with client_of(api) as http:
            await refuses(http)
            assert "refuses the password" in (await http.get("/healthz/ready")).json()["detail"]
            client.config_set("requirepass", "")
            await recovers(http, api)


async def test_a_full_server(start: Start, server: Server) -> None:
    start("worker")
    api = start("api")
    async with client_of(api) as http:
        assert await works(http)
        with server.client as client:
            client.config_set("maxmemory", 1)
            await refuses(http, ready=True)
            client.config_set("maxmemory", 0)
        await recovers(http, api)


async def test_a_read_only_replica(start: Start, server: Server) -> None:
    start("worker")
    api = start("api")
    async with client_of(api) as http:
        assert await works(http)
        with server.client as client:
            client.replicaof("127.0.0.1", 1)
            await refuses(http)
            client.replicaof("NO", "ONE")
        await recovers(http, api)


async def test_an_emptied_server_is_said_to_those_who_wait(start: Start, history: History, server: Server) -> None:
    start("worker")
    api = start("api")
    async with client_of(api) as http:
        waiting = asyncio.ensure_future(http.post(COUNT, json={"steps": 100}))
        await eventually(history.running)
        with server.client as client:
            client.flushall()
        answer = await waiting
        assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
        assert "send the request again" in answer.json()["detail"]
        await recovers(http, api)


async def test_a_replica_whose_clock_is_an_hour_off_serves_and_keeps_deadlines(start: Start) -> None:
    start("worker")
    api = start("api", "clock_an_hour_ahead")
    async with client_of(api) as http:
        assert (await http.post(SCALE, json={**ROW, "deadline_ms": 20_000})).status_code == 200
        late = await http.post(COUNT, json={"steps": 100, "deadline_ms": 100})
        assert (late.status_code, late.json()["code"]) == (504, "deadline_exceeded")


async def test_a_worker_whose_loop_has_died_is_not_counted_on(start: Start, server: Server) -> None:
    worker = start("worker", "loop_dies_on_sigusr1", heartbeat_seconds=0.5, lease_seconds=2.0)
    api = start("api", heartbeat_seconds=0.5, lease_seconds=2.0)
    async with client_of(api) as http:
        assert await works(http)
        worker.signal(signal.SIGUSR1)
        took = await eventually(lambda: _unready(http))
        assert took < 2.0
        assert worker.alive
        assert (await timed(http, "GET", "/healthz/live"))[1] < PROBE_SECONDS


async def _lives(api) -> bool:
    return api.status("/healthz/live") == 200


async def _unready(http) -> bool:
    return (await http.get("/healthz/ready")).status_code == 503
