"""One core of the queue's server, saturated: what a broker sent is recorded, and sent again as fast as it is taken."""

import asyncio
import socket
import threading
import time
from collections.abc import Sequence
from unittest.mock import patch

from hiredis import pack_command
from redis import Redis

from benchmarks.clients import BARE, KINDS, LIMITS, done, echo_job
from benchmarks.processes import cpu_seconds
from service.broker.redis import RedisBroker
from service.broker.redis.pipelined_connection import Command, PipelinedConnection
from tests.queue_server import Server

TURNS, JOBS_PER_TURN, REPLAYS = 50, 32, 10
LAST = b"the last of all"


async def recorded(url: str) -> bytes:
    """Every byte by which jobs are submitted, taken and ended, turn by turn."""
    sent, send = bytearray(), PipelinedConnection._send

    async def record(connection: PipelinedConnection, commands: Sequence[Command]) -> list[object]:
        sent.extend(b"".join(map(pack_command, commands)))
        return await send(connection, commands)

    broker = RedisBroker(url, LIMITS, KINDS)
    with patch.object(PipelinedConnection, "_send", record):
        for _ in range(TURNS):
            await asyncio.gather(*(broker.submit(echo_job(BARE)) for _ in range(JOBS_PER_TURN)))
            leases = await broker.take([str(BARE)], budget=JOBS_PER_TURN * 1e-6, wait=0.0)
            assert len(leases) == JOBS_PER_TURN
            await broker.emit([(lease, [done(lease.job)]) for lease in leases])
    await broker.close()
    return bytes(sent)


def replayed(server: Server, sent: bytes) -> tuple[float, float]:
    """Jobs/s of an empty server that is sent all of it at once, and the part of a core that it used."""
    assert server.process is not None
    jobs, took, used = TURNS * JOBS_PER_TURN, 0.0, 0.0
    for _ in range(REPLAYS):
        with server.client as client:
            client.flushall()  # the scripts stay
        before, began = cpu_seconds([server.process.pid]), time.perf_counter()
        _send(server.port, sent)
        took += time.perf_counter() - began
        used += cpu_seconds([server.process.pid]) - before
    with server.client as client:
        _check(client, jobs)
    return REPLAYS * jobs / took, used / took


def _send(port: int, sent: bytes) -> None:
    ping: Command = ("PING", LAST)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        reader = threading.Thread(target=_read_to_the_last, args=(connection,))
        reader.start()
        connection.sendall(sent + pack_command(ping))
        reader.join()


def _read_to_the_last(connection: socket.socket) -> None:
    tail = b""
    while LAST not in tail:
        tail = tail[-len(LAST) :] + connection.recv(1 << 20)


def _check(client: "Redis", jobs: int) -> None:
    """Every job was done again."""
    states = [client.hget(name, "state") for name in client.scan_iter("*}:job:*", count=1000)]
    assert states == [b"done"] * jobs, (len(states), set(states))
