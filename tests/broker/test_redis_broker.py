"""What only the queue between machines has: keys, damaged bytes, round trips, forgotten scripts, cancelled callers."""

import asyncio

import pytest
from queue_server import Server
from queued import M, MakeBroker, emit, finish, ident, job, read, status_of, step, take, take_one
from redis import Redis

from fivefold.errors import NotFound
from service.broker.base import Broker, QueueAway
from service.broker.redis.keys import prefix

WHERE = prefix(M)


@pytest.fixture
def redis_broker(make_redis_broker: MakeBroker) -> Broker:
    return make_redis_broker(max_queue_seconds=1e6)


@pytest.fixture
def client(server: Server, redis_broker: Broker) -> Redis:
    with server.client as client:
        yield client


async def test_keys_are_bounded_after_a_thousand_jobs_and_none_is_left_when_their_time_is_over(
    make_redis_broker: MakeBroker, server: Server, clock
) -> None:
    broker = make_redis_broker(max_queue_seconds=1e6, max_kept_jobs=20)
    with server.client as client:
        for start in range(0, 1000, 100):
            fields = {"tenant": "t", "deadline": clock.now + 1e6}
            names = [f"{index:x}" for index in range(start, start + 100)]
            await asyncio.gather(*(broker.submit(job(name, idempotency_key=name, **fields)) for name in names))
            for lease in await take(broker, budget=1e6):
                assert await finish(broker, lease)
        for _ in range(20):  # every call forgets at most 64 jobs, so that none takes long
            await broker.depth(M)
        assert client.dbsize() <= 20 * 5 + 5  # hash, request, events, seen, key of what is kept; and the queue's own
        clock.advance(1e5)
        await broker.depth(M)
        assert {key.decode() for key in client.scan_iter()} == {"fivefold:models", f"{WHERE}bell:1", f"{WHERE}queue"}


@pytest.mark.parametrize("damage", [b"", b"\x00", b"\xff\xff\xff\xff{}", b"\x00\x00\x00\x02{}", b"\x80\x04pickle"])
async def test_a_damaged_payload_fails_alone(redis_broker: Broker, client: Redis, damage: bytes) -> None:
    await redis_broker.submit(job("a", rows=2))
    await redis_broker.submit(job("b"))
    client.set(f"{WHERE}payload:{ident('a')}", damage)
    (lease,) = await take(redis_broker, budget=10.0)
    assert lease.job.id == ident("b")
    assert await finish(redis_broker, lease)
    assert [(event.row, event.error.code) for event in await read(redis_broker, "a")] == [
        (0, "internal"),
        (1, "internal"),
    ]
    assert (await status_of(redis_broker, "a")).state == "failed"
    assert (await redis_broker.depth(M)).predicted_seconds == 0.0


async def test_a_vanished_payload_fails_alone(redis_broker: Broker, client: Redis) -> None:
    await redis_broker.submit(job("a"))
    client.delete(f"{WHERE}payload:{ident('a')}")
    assert await take(redis_broker) == []
    assert [event.kind for event in await read(redis_broker, "a")] == ["failed"]


async def test_a_damaged_event_is_said_and_does_not_hang_its_reader(redis_broker: Broker, client: Redis) -> None:
    await redis_broker.submit(job("a"))
    assert await finish(redis_broker, await take_one(redis_broker))
    client.lset(f"{WHERE}events:{ident('a')}", 0, b"\x00\x00\x00\x09damaged")
    with pytest.raises(QueueAway, match="damaged answer"):
        await asyncio.wait_for(read(redis_broker, "a"), 5.0)


async def test_finishing_and_taking_are_one_round_trip(redis_broker: Broker, client: Redis) -> None:
    await redis_broker.submit(job("a"))
    await redis_broker.submit(job("b"))
    lease = await take_one(redis_broker)
    before = int(client.info("stats")["total_reads_processed"])
    published, leases = await asyncio.gather(emit(redis_broker, lease, [step("a")]), take(redis_broker))
    assert published
    assert [taken.job.id for taken in leases] == [ident("b")]
    assert int(client.info("stats")["total_reads_processed"]) - before == 2  # with that of the question itself


async def test_forgotten_scripts_are_loaded_again_in_the_same_call(redis_broker: Broker, client: Redis) -> None:
    await redis_broker.submit(job("a"))
    client.script_flush()
    answers = await asyncio.gather(
        *(redis_broker.submit(job(f"b{index}")) for index in range(10)), redis_broker.depth(M), take(redis_broker)
    )
    assert [accepted.existing for accepted in answers[:10]] == [False] * 10
    assert [lease.job.id for lease in answers[11]] == [ident("a")]


async def test_a_cancelled_caller_leaves_no_reply_for_the_next(redis_broker: Broker) -> None:
    await redis_broker.submit(job("a"))
    for _ in range(50):
        cancelled = asyncio.ensure_future(redis_broker.status(ident("a"), "anonymous"))
        for _ in range(3):
            await asyncio.sleep(0)  # its command is under way
        cancelled.cancel()
        assert (await redis_broker.depth(M)).waiting_jobs == 1
        with pytest.raises(NotFound):
            await redis_broker.status(ident("nobody"), "anonymous")


async def test_a_submit_whose_caller_was_cancelled_can_be_repeated(redis_broker: Broker) -> None:
    first = asyncio.ensure_future(redis_broker.submit(job("a")))
    await asyncio.sleep(0)
    first.cancel()
    assert (await redis_broker.submit(job("a"))).job_id == ident("a")
    assert (await redis_broker.depth(M)).waiting_jobs == 1


async def test_an_answer_that_came_before_its_reader_is_read(redis_broker: Broker) -> None:
    await redis_broker.submit(job("warm"))
    assert await finish(redis_broker, await take_one(redis_broker))
    assert len(await read(redis_broker, "warm")) == 1  # it is subscribed now
    await redis_broker.submit(job("a", rows=2, detached=False))
    await redis_broker.submit(job("b", detached=False))
    first, second = await take(redis_broker, budget=10.0)
    reading = asyncio.ensure_future(read(redis_broker, "b"))
    assert await finish(redis_broker, first)
    assert await finish(redis_broker, second)
    assert len(await reading) == 1  # messages come in order: that of a has come too
    assert [event.row for event in await read(redis_broker, "a")] == [0, 1]
