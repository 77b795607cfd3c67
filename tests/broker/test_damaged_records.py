"""Whatever the queue's server holds: workers live, calls answer, good jobs are served, the rest is set aside."""

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from queue_server import Server
from queued import (
    KINDS,
    MODEL,
    Clock,
    M,
    MakeBroker,
    cancel,
    finish,
    ident,
    job,
    limits_of,
    name_of,
    read,
    replay,
    status_of,
    step,
    take,
    take_one,
)
from redis import Redis

from fivefold.errors import NotFound
from service.assembly import make_broker
from service.broker.base import Broker, Depth
from service.broker.redis import RedisBroker
from service.broker.redis.keys import ALIASES, CONTROL, MODELS, REPLY, WORKERS, prefix
from service.jobs import Failure, failed
from service.settings import Settings
from service.workers import ControlMessage, WorkerStatus

WHERE = prefix(M)
UNREADABLE = "fivefold_unreadable_messages_total"
BAD = f"{WHERE}job:{ident('bad')}"


@pytest.fixture
def broker(make_redis_broker: MakeBroker) -> Broker:
    return make_redis_broker(max_queue_seconds=1e6)


@pytest.fixture
def client(server: Server, broker: Broker) -> Redis:
    with server.client as client:
        yield client


RECORDS: dict[str, Callable[[Redis], object]] = {
    **{
        f"no {name}": lambda client, name=name: client.hdel(BAD, name)
        for name in (
            "state",
            "seconds",
            "weight",
            "row_count",
            "finish",
            "stamp",
            "format",
            "tenant",
            "operation",
            "class",
        )
    },
    **{
        f"a text for {name}": lambda client, name=name: client.hset(BAD, name, b"\xffthree")
        for name in ("seconds", "weight", "row_count", "finish", "stamp", "format", "attempts", "token", "deadline")
    },
    **{
        f"{number} for {name}": lambda client, name=name, number=number: client.hset(BAD, name, number)
        for name, number in (("row_count", "1e9"), ("weight", "0"), ("seconds", "nan"), ("finish", "inf"))
    },
    "an unknown state": lambda client: client.hset(BAD, "state", "odd"),
    "nothing at all": lambda client: client.delete(BAD),
    "a record of another type": lambda client: (client.delete(BAD), client.set(BAD, "x")),
    "a list for the payload": lambda client: _as_list(client, f"{WHERE}payload:{ident('bad')}"),
    "no payload": lambda client: client.delete(f"{WHERE}payload:{ident('bad')}"),
    "a damaged payload": lambda client: client.set(f"{WHERE}payload:{ident('bad')}", b"\x80\x04pickle"),
}


def _as_list(client: Redis, key: str) -> None:
    client.delete(key)
    client.rpush(key, "x")


@pytest.mark.parametrize("damage", RECORDS)
async def test_a_damaged_record_is_a_dead_letter_alone(broker: Broker, client: Redis, damage: str) -> None:
    await broker.submit(job("bad", rows=2))
    for name in ("a", "b"):
        await broker.submit(job(name))
    RECORDS[damage](client)
    served = []
    for _ in range(3):
        for lease in await take(broker):
            served.append(name_of(lease.job.id))
            assert await finish(broker, lease)
    assert served == ["a", "b"]
    assert await broker.depth(M) == Depth(0, 0, 0.0)
    assert [(name_of(dead.id), bool(dead.reason)) for dead in await broker.dead()] == [("bad", True)]
    tenant = (client.hget(BAD, "tenant") or b"").decode()  # where its owner is unknown, it has none
    assert (await broker.status(ident("bad"), tenant)).state == "failed"
    ends = await asyncio.wait_for(read(broker, "bad"), 5.0)
    assert {(end.kind, end.error.code) for end in ends if end.error} == {("failed", "internal")}


@pytest.mark.parametrize("damage", ["a text for seconds", "no stamp", "an unknown state", "1e9 for row_count"])
@pytest.mark.parametrize("call", ["status", "cancel", "abandon", "read", "submit", "jobs", "release", "extend", "emit"])
async def test_each_call_answers_for_a_damaged_record(broker: Broker, client: Redis, damage: str, call: str) -> None:
    await broker.submit(job("bad"))
    lease = await take_one(broker)
    RECORDS[damage](client)
    calls: dict[str, Callable[[], Any]] = {
        "status": lambda: status_of(broker, "bad"),
        "cancel": lambda: cancel(broker, "bad"),
        "abandon": lambda: broker.abandon(ident("bad")),
        "read": lambda: read(broker, "bad"),
        "submit": lambda: broker.submit(job("bad")),
        "jobs": lambda: broker.jobs("anonymous"),
        "release": lambda: broker.release([lease]),
        "extend": lambda: broker.extend([lease]),
        "emit": lambda: broker.emit([(lease, [step("bad")])]),
    }
    await asyncio.wait_for(calls[call](), 5.0)
    assert (await status_of(broker, "bad")).state == "failed"
    await broker.submit(job("good"))
    assert [name_of(lease.job.id) for lease in await take(broker)] == ["good"]


PLACES = [b"\xff\xfe", b"no place", b"1:1:", b"x:1:m@1-a", b"00000000000000000001:1:m@1-gone", b"1:9:\xff", b"5:1:\xff"]


@pytest.mark.parametrize("place", PLACES)
async def test_what_is_no_place_leaves_the_line(broker: Broker, client: Redis, clock: Clock, place: bytes) -> None:
    await broker.submit(job("a"))
    client.zadd(f"{WHERE}ready", {place: -5.0})
    for name in ("lease", "due", "kept", "dead"):
        client.zadd(f"{WHERE}{name}", {place: 5.0})
    served = []
    for _ in range(4):
        for lease in await take(broker):
            served.append(name_of(lease.job.id))
            assert await finish(broker, lease)
        clock.advance(100.0)
    assert served == ["a"]
    assert (await broker.depth(M)).waiting_jobs == 0
    assert client.zcard(f"{WHERE}lease") == client.zcard(f"{WHERE}due") == 0
    await broker.dead()


KEYS = ("ready", "share", "due", "lease", "bell:1", "queue", "kept", "dead", "jobs:anonymous", "idem:anonymous:k")


@pytest.mark.parametrize("name", KEYS)
async def test_a_key_of_another_type_is_put_aside(broker: Broker, client: Redis, name: str) -> None:
    key = f"{WHERE}{name}"
    if name == "bell:1":
        client.set(key, "x")
    else:
        client.rpush(key, "x")
    await broker.submit(job("a", idempotency_key="k", deadline=1.9e9))
    assert (await status_of(broker, "a")).state == "queued"
    await broker.depth(M)
    lease = await take_one(broker)
    assert await finish(broker, lease)
    assert [name_of(status.id) for status in (await broker.jobs("anonymous"))[0]] == ["a"]
    assert await broker.dead() == []
    assert client.type(f"{key}.damaged") == (b"string" if name == "bell:1" else b"list")
    assert 0 < client.ttl(f"{key}.damaged") <= 86400


@pytest.mark.parametrize("name", ["events", "seen", "payload", "request"])
async def test_a_jobs_key_of_another_type_is_put_aside(broker: Broker, client: Redis, name: str) -> None:
    key = f"{WHERE}{name}:{ident('a')}"
    client.geoadd(key, (0.0, 0.0, "x"))
    await broker.submit(job("a", rows=2))
    lease = await take_one(broker)
    assert await broker.emit([(lease, [step("a")])]) == []
    assert await finish(broker, lease)
    assert [event.kind for event in await read(broker, "a")] == ["step", "done", "done"]


async def test_texts_for_the_queues_numbers_are_none(broker: Broker, client: Redis) -> None:
    client.hset(f"{WHERE}queue", mapping={"virtual_time": "nan", "waiting_seconds": "x", "token": "inf", "stamp": "-"})
    await broker.submit(job("a"))
    assert await finish(broker, await take_one(broker))
    assert (await status_of(broker, "a")).state == "done"


# What is outside of the models' keys


@pytest.mark.parametrize("beat", [b"", b"\xff", b"5", b"5 {}", b"x {}", b'5 {"id": 1}', b'1800000000000 {"format": 9}'])
async def test_an_unreadable_heartbeat_is_skipped_and_counted(broker: Broker, client: Redis, beat: bytes) -> None:
    await broker.heartbeat(WorkerStatus("w", "cpu", "scope"))
    client.hset(WORKERS, "odd", beat)
    assert [status.id for status in await broker.workers()] == ["w"]
    assert broker.unreadable == {"heartbeat": 1}
    await broker.heartbeat(WorkerStatus("w", "cpu", "scope"))
    assert [status.id for status in await broker.workers()] == ["w"]


async def test_an_unreadable_order_is_skipped_and_the_next_one_heard(broker: Broker, client: Redis) -> None:
    orders = await broker.control()
    heard = asyncio.ensure_future(anext(orders))
    await asyncio.sleep(0)
    client.xadd(CONTROL, {"order": b'{"action": "dance"}'})
    client.xadd(CONTROL, {"another": b"\xff"})
    await broker.send(ControlMessage("unload", MODEL))
    assert await asyncio.wait_for(heard, 5.0) == ControlMessage("unload", MODEL)
    assert broker.unreadable == {"order": 2}
    await orders.aclose()


async def test_a_stream_of_orders_that_is_none_is_replaced(broker: Broker, client: Redis) -> None:
    client.set(CONTROL, "x")
    orders = await broker.control()
    heard = asyncio.ensure_future(anext(orders))
    await asyncio.sleep(0)
    await broker.send(ControlMessage("drain"))
    assert await asyncio.wait_for(heard, 5.0) == ControlMessage("drain")
    await orders.aclose()


async def test_unreadable_aliases_and_models_are_skipped(broker: Broker, client: Redis) -> None:
    client.hset(ALIASES, b"\xff", b"m@1")
    client.sadd(MODELS, b"\xff", b"m@1")
    await broker.set_alias("m@default", "m@1")
    assert await broker.aliases() == {"m@default": "m@1"}
    await broker.submit(job("a"))
    assert [name_of(status.id) for status in (await broker.jobs("anonymous"))[0]] == ["a"]
    assert await broker.dead() == []
    for key in (ALIASES, MODELS, WORKERS):
        client.delete(key)
        client.set(key, "x")
    assert (await broker.aliases(), await broker.dead(), await broker.workers()) == ({}, [], [])


async def test_noise_on_the_channels_stops_no_reader(broker: Broker, client: Redis) -> None:
    await broker.submit(job("warm"))
    assert await finish(broker, await take_one(broker))
    assert len(await read(broker, "warm")) == 1
    (channel,) = client.pubsub_channels(f"{REPLY}*")
    await broker.submit(job("a", detached=False))
    reading = asyncio.ensure_future(read(broker, "a"))
    await asyncio.sleep(0)
    for noise in (b"", b"\xff", b"\x00\x00\x00\x01\xff", b"\x00\x00\x00\x02m@\x00\x00\x00\x01x"):
        client.publish(channel, noise)
    assert await finish(broker, await take_one(broker))
    assert len(await asyncio.wait_for(reading, 5.0)) == 1


async def test_a_process_counts_what_it_skips_in_its_metrics(server: Server, client: Redis) -> None:
    registry = CollectorRegistry()
    broker = make_broker(Settings(redis_url=server.url), (), registry)
    client.hset(WORKERS, "odd", b"\xff")
    client.hset(ALIASES, b"\xff", b"m@1")
    for _ in range(2):
        await broker.workers()
    await broker.aliases()
    await broker.close()
    counted = {kind: registry.get_sample_value(UNREADABLE, {"kind": kind}) for kind in ("heartbeat", "alias", "job")}
    assert counted == {"heartbeat": 2.0, "alias": 1.0, "job": None}


# Formats


@pytest.fixture
def make_worker(server: Server, clock: Clock, broker: Broker) -> Callable[..., Broker]:
    """Workers that read other formats than this build."""
    return lambda *formats, **limits: RedisBroker(server.url, limits_of(**limits), KINDS, clock, formats)


async def test_a_worker_skips_what_it_does_not_read_and_takes_what_is_behind(
    broker: Broker, make_worker: Callable[..., Broker], client: Redis
) -> None:
    newer = make_worker(2)
    for name in ("a", "b"):
        await broker.submit(job(name))
    assert await take(newer, budget=10.0) == []
    assert (await broker.depth(M)).waiting_jobs == 2
    _become_format(client, "a", 2)
    assert [name_of(lease.job.id) for lease in await take(broker, budget=10.0)] == ["b"]
    assert (await status_of(broker, "a")).state == "queued"
    await newer.close()


async def test_what_no_worker_reads_for_too_long_is_a_dead_letter(broker: Broker, client: Redis, clock: Clock) -> None:
    await broker.submit(job("a"))
    _become_format(client, "a", 2)
    for _ in range(4):  # as long as a worker asks for the format, its jobs wait
        clock.advance(50.0)
        client.hset(f"{WHERE}queue", "asked_2", int(clock.now * 1e3))
        assert await take(broker) == []
        assert (await status_of(broker, "a")).state == "queued"
    clock.advance(61.0)
    assert await take(broker) == []
    (dead,) = await broker.dead()
    assert (name_of(dead.id), dead.reason) == ("a", "no worker has read its format 2 for 60 s")
    assert [end.error.code for end in await read(broker, "a") if end.error] == ["internal"]


async def test_a_silent_workers_job_in_another_format_is_left_to_who_reads_it(
    broker: Broker, client: Redis, clock: Clock
) -> None:
    await broker.submit(job("a"))
    await take_one(broker)
    client.hset(f"{WHERE}job:{ident('a')}", "format", 2)
    clock.advance(11.0)
    assert await take(broker) == []
    assert (await status_of(broker, "a")).state == "running"
    clock.advance(61.0)
    assert await take(broker) == []
    assert (await status_of(broker, "a")).state == "failed"
    assert await broker.depth(M) == Depth(0, 0, 0.0)


async def test_a_dead_letter_that_cannot_be_read_here_is_listed_and_its_replay_says_why(
    broker: Broker, client: Redis
) -> None:
    await broker.submit(job("a"))
    client.set(f"{WHERE}payload:{ident('a')}", b"damaged")
    assert await take(broker) == []
    (dead,) = await broker.dead()
    assert (dead.operation, dead.tenant, dead.rows, dead.attempts) == ("toy/op", "anonymous", 1, 1)
    with pytest.raises(NotFound, match="checksum"):
        await replay(broker, "a")


def _become_format(client: Redis, name: str, number: int) -> None:
    """As if the job had been submitted by a version that writes this format."""
    stamp, _, job_id = next(
        place for place in client.zrange(f"{WHERE}ready", 0, -1) if name.encode() in place[-1:]
    ).split(b":")
    score = client.zscore(f"{WHERE}ready", b":".join((stamp, b"1", job_id)))
    client.zrem(f"{WHERE}ready", b":".join((stamp, b"1", job_id)))
    client.zadd(f"{WHERE}ready", {b"%b:%d:%b" % (stamp, number, job_id): score})
    client.hset(f"{WHERE}job:{ident(name)}", "format", number)


async def test_a_failure_of_many_rows_is_cut_to_those_that_are_new(broker: Broker) -> None:
    await broker.submit(job("a", rows=5))
    lease = await take_one(broker)
    await broker.emit([(lease, [failed(ident("a"), np.array([1, 3]), Failure("row_failed", "why it failed"))])])
    await broker.emit([(lease, [failed(ident("a"), np.arange(5), Failure("other", "again"))])])
    ends = await read(broker, "a")
    assert sorted((end.row, end.error.code) for end in ends if end.error) == [
        (0, "other"),
        (1, "row_failed"),
        (2, "other"),
        (3, "row_failed"),
        (4, "other"),
    ]
