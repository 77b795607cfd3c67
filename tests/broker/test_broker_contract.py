"""What every broker promises: accepted once, ended once, in fair order, within bounds."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from queued import (
    MODEL,
    Clock,
    M,
    MakeBroker,
    cancel,
    done,
    emit,
    events_of,
    failure,
    finish,
    ident,
    job,
    name_of,
    read,
    replay,
    seen,
    status_of,
    step,
    take,
    take_one,
)

from fivefold.errors import IdempotencyConflict, InvalidInput, NotFound, QueueFull
from model_store.store import ModelRef
from service.broker.base import Broker, Depth
from service.jobs import Events
from service.workers import ControlMessage, WorkerStatus


async def test_a_job_goes_from_submit_to_its_last_event(broker: Broker) -> None:
    accepted = await broker.submit(job("a", rows=2, stream=True))
    assert (name_of(accepted.job_id), accepted.existing) == ("a", False)
    lease = await take_one(broker)
    assert (name_of(lease.job.id), lease.attempt) == ("a", 1)
    assert await emit(broker, lease, [step("a", 0), done("a", 0, 1)])
    assert (await status_of(broker, "a", "anonymous")).rows_finished == 1
    assert await emit(broker, lease, [done("a", 1)])
    assert [event.id for event in await read(broker, "a")] == ["0.0", "0.1", "1.0"]
    status = await status_of(broker, "a", "anonymous")
    assert (status.state, status.rows, status.rows_finished, status.error) == ("done", 2, 2, None)


async def test_an_answer_that_comes_before_its_reader_is_read(broker: Broker) -> None:
    for number in range(20):  # from the second one on the broker listens before the job is submitted
        name = str(number)
        await broker.submit(job(name, detached=False))
        assert await finish(broker, await take_one(broker))
        for _ in range(3):  # what was published arrives
            await broker.depth(M)
        assert [event.id for event in await read(broker, name)] == ["0.0"]


async def test_the_last_end_acknowledges_the_job(broker: Broker) -> None:
    await broker.submit(job("a"))
    lease = await take_one(broker)
    assert await finish(broker, lease)
    assert not await finish(broker, lease)
    assert await broker.depth(M) == Depth(0, 0, 0.0)


async def test_a_job_fails_only_where_no_row_succeeds(broker: Broker) -> None:
    for name, last, state in (("mixed", done, "done"), ("bad", failure, "failed")):
        await broker.submit(job(name, rows=2))
        await emit(broker, await take_one(broker), [failure(name, 0), last(name, 1)])
        assert (await status_of(broker, name, "anonymous")).state == state
    error = (await status_of(broker, "bad", "anonymous")).error
    assert error is not None
    assert error.code == "row_failed"


async def test_a_repeated_event_is_seen_once_and_a_row_ends_once(broker: Broker) -> None:
    await broker.submit(job("a", rows=2, stream=True))
    lease = await take_one(broker)
    await emit(broker, lease, [step("a", 0, 0), step("a", 0, 0), done("a", 0, 1)])
    await emit(broker, lease, [step("a", 0, 0), step("a", 0, 9), failure("a", 0), done("a", 0, 1), done("a", 1)])
    assert [(event.id, event.kind) for event in await read(broker, "a")] == [
        ("0.0", "step"),
        ("0.1", "done"),
        ("1.0", "done"),
    ]


async def test_a_lease_may_bring_events_several_times_in_one_call(broker: Broker) -> None:
    for name in ("a", "b"):
        await broker.submit(job(name, rows=3))
    first, second = [await take_one(broker) for _ in range(2)]
    emissions = [(first, [done("a", 0)]), (second, [done("b", 1)]), (first, [done("a", 1)]), (first, [done("a", 2)])]
    assert not await broker.emit(emissions)
    assert [event.id for event in await read(broker, "a")] == ["0.0", "1.0", "2.0"]
    assert (await status_of(broker, "b", "anonymous")).rows_finished == 1


async def test_events_are_followed_while_the_job_runs_and_can_be_read_again(broker: Broker) -> None:
    await broker.submit(job("a", stream=True))
    reader = asyncio.create_task(read(broker, "a"))
    lease = await take_one(broker)
    for index in range(3):
        await emit(broker, lease, [step("a", 0, index)])
        await asyncio.sleep(0)
    await emit(broker, lease, [done("a", 0, 3)])
    assert [event.index for event in await reader] == [0, 1, 2, 3]
    assert [event.index for event in await read(broker, "a")] == [0, 1, 2, 3]


async def test_an_unknown_job_is_not_found(broker: Broker) -> None:
    for call in (status_of(broker, "x", "anonymous"), cancel(broker, "x", "anonymous"), read(broker, "x")):
        with pytest.raises(NotFound, match="x"):
            await call
    with pytest.raises(NotFound, match="x"):
        await replay(broker, "x")


async def test_another_tenants_job_is_not_found(broker: Broker) -> None:
    await broker.submit(job("a", tenant="A"))
    for call in (status_of(broker, "a", "B"), cancel(broker, "a", "B")):
        with pytest.raises(NotFound):
            await call
    assert (await broker.jobs("B"))[0] == []
    assert [name_of(status.id) for status in (await broker.jobs("A"))[0]] == ["a"]


async def test_pages_of_jobs_come_newest_first_and_are_complete(make_broker: MakeBroker) -> None:
    broker = make_broker(max_queue_seconds=1e6)
    for index in range(250):
        await broker.submit(job(f"j{index}"))
    seen, cursor = [], None
    while True:
        page, cursor = await broker.jobs("anonymous", cursor)
        seen += [name_of(status.id) for status in page]
        if cursor is None:
            break
    assert seen == [f"j{index}" for index in reversed(range(250))]


# Fairness


async def order(broker: Broker, count: int) -> list[str]:
    """The tenants of the next `count` jobs, each taken and finished by itself."""
    tenants = []
    for _ in range(count):
        lease = await take_one(broker)
        tenants.append(lease.job.tenant)
        await finish(broker, lease)
    return tenants


async def test_after_ten_thousand_jobs_of_one_tenant_the_next_tenant_is_served_second(make_broker: MakeBroker) -> None:
    broker = make_broker(max_queue_seconds=1e9, max_queued_jobs=20_000)
    for index in range(10_000):
        await broker.submit(job(f"A{index}", tenant="A"))
    await broker.submit(job("B", tenant="B"))
    assert await order(broker, 2) == ["A", "B"]


async def test_shares_follow_the_weights_of_the_classes(make_broker: MakeBroker) -> None:
    broker = make_broker(max_queue_seconds=1e9, class_weights={"interactive": 3.0, "normal": 1.0, "bulk": 0.5})
    for index in range(400):
        await broker.submit(job(f"A{index}", tenant="A", priority="interactive"))
        await broker.submit(job(f"B{index}", tenant="B"))
    assert Counter(await order(broker, 400)) == {"A": 300, "B": 100}


async def test_shares_follow_the_weights_of_the_tenants(make_broker: MakeBroker) -> None:
    broker = make_broker(max_queue_seconds=1e9)
    for index in range(100):
        await broker.submit(job(f"A{index}", tenant="A", weight=3.0))
        await broker.submit(job(f"B{index}", tenant="B"))
    assert Counter(await order(broker, 100)) == {"A": 75, "B": 25}


async def test_a_tenant_pays_for_the_work_it_sends_not_for_the_number_of_jobs(make_broker: MakeBroker) -> None:
    broker = make_broker(max_queue_seconds=1e9)
    for index in range(100):
        await broker.submit(job(f"A{index}", tenant="A", seconds=4.0))
        await broker.submit(job(f"B{index}", tenant="B", seconds=1.0))
    assert Counter(await order(broker, 100)) == {"A": 20, "B": 80}


async def test_a_cancelled_job_gives_its_work_back_to_its_flow(broker: Broker) -> None:
    await broker.submit(job("A0", tenant="A", seconds=20.0))
    await cancel(broker, "A0", "A")
    await broker.submit(job("A1", tenant="A"))
    await broker.submit(job("B", tenant="B"))
    assert await order(broker, 2) == ["A", "B"]


async def test_an_urgent_class_does_not_wait_for_the_tenants_own_bulk(make_broker: MakeBroker) -> None:
    broker = make_broker(max_queue_seconds=1e9)
    for index in range(50):
        await broker.submit(job(f"bulk{index}", priority="bulk"))
    await broker.submit(job("urgent", priority="interactive"))
    assert "urgent" in [name_of((await take_one(broker)).job.id) for _ in range(2)]


async def test_models_take_turns(broker: Broker) -> None:
    other = ModelRef("other", "1", "1" * 64)
    for index in range(3):
        await broker.submit(job(f"m{index}"))
        await broker.submit(job(f"o{index}", model=other))
    leases = await take(broker, budget=4.0, models=(M, str(other)))
    assert Counter(lease.job.model.name for lease in leases) == {"m": 2, "other": 2}
    assert [name_of(lease.job.id) for lease in await take(broker, budget=9.0)] == ["m2"]


async def test_a_take_stops_at_the_first_job_over_its_budget_but_takes_one(broker: Broker) -> None:
    for name, seconds in (("a", 2.0), ("b", 5.0), ("c", 0.5)):
        await broker.submit(job(name, seconds=seconds))
    assert [name_of(lease.job.id) for lease in await take(broker, budget=3.0)] == ["a"]
    assert [name_of(lease.job.id) for lease in await take(broker, budget=0.0)] == ["b"]


# Leases


async def test_a_zombies_finish_changes_nothing(make_broker: MakeBroker, clock: Clock) -> None:
    broker = make_broker(lease_seconds=10.0)
    await broker.submit(job("a"))
    zombie = await take_one(broker)
    clock.advance(11.0)
    heir = await take_one(broker)
    assert (heir.attempt, heir.token > zombie.token) == (2, True)
    assert not await finish(broker, zombie)
    assert await broker.extend([zombie, heir]) == [zombie]
    assert await read_so_far(broker, "a") == 0
    assert await finish(broker, heir)
    assert len(await read(broker, "a")) == 1


async def read_so_far(broker: Broker, job_id: str) -> int:
    return (await status_of(broker, job_id, "anonymous")).rows_finished


async def test_an_extended_lease_is_not_redelivered(make_broker: MakeBroker, clock: Clock) -> None:
    broker = make_broker(lease_seconds=10.0)
    await broker.submit(job("a"))
    lease = await take_one(broker)
    for _ in range(5):
        clock.advance(9.0)
        assert await broker.extend([lease]) == []
    assert await take(broker) == []
    clock.advance(10.0)
    assert [again.attempt for again in await take(broker)] == [2]


async def test_a_job_is_redelivered_alone(make_broker: MakeBroker, clock: Clock) -> None:
    broker = make_broker(lease_seconds=10.0)
    for name in ("a", "b", "c"):
        await broker.submit(job(name, seconds=0.1))
    assert len(await take(broker, budget=0.25)) == 2
    clock.advance(11.0)
    assert [[name_of(lease.job.id) for lease in await take(broker, budget=9.0)] for _ in range(3)] == [
        ["a"],
        ["b"],
        ["c"],
    ]


async def test_after_its_attempts_a_job_is_a_dead_letter_and_its_waiters_hear_of_it(
    make_broker: MakeBroker, clock: Clock
) -> None:
    broker = make_broker(lease_seconds=10.0, max_attempts=3)
    await broker.submit(job("poison", rows=2))
    await broker.submit(job("good"))
    reader = asyncio.create_task(read(broker, "poison"))
    for attempt in (1, 2, 3):
        lease = await take_one(broker)
        assert (name_of(lease.job.id), lease.attempt) == ("poison", attempt)
        clock.advance(11.0)
    assert name_of((await take_one(broker)).job.id) == "good"
    assert [event.error.code for event in await reader if event.error] == ["row_failed", "row_failed"]
    (dead,) = await broker.dead()
    assert (name_of(dead.id), dead.attempts) == ("poison", 3)
    assert "3 of 3" in dead.reason
    assert not await finish(broker, lease)


async def test_a_replayed_job_starts_anew_behind_a_new_fence(make_broker: MakeBroker, clock: Clock) -> None:
    broker = make_broker(lease_seconds=10.0, max_attempts=1)
    await broker.submit(job("a"))
    zombie = await take_one(broker)
    clock.advance(11.0)
    assert await take(broker) == []
    await replay(broker, "a")
    assert await broker.dead() == []
    lease = await take_one(broker)
    assert not await finish(broker, zombie)
    assert await finish(broker, lease)
    assert [event.kind for event in await read(broker, "a")] == ["done"]


async def test_a_released_job_is_first_again_and_its_attempt_does_not_count(broker: Broker) -> None:
    await broker.submit(job("a"))
    await broker.submit(job("b"))
    for _ in range(5):
        lease = await take_one(broker)
        assert (name_of(lease.job.id), lease.attempt) == ("a", 1)
        await broker.release([lease])
        assert not await finish(broker, lease)
    assert (await broker.depth(M)).waiting_jobs == 2


# Ends without a worker


async def test_a_queued_job_is_cancelled_at_once(broker: Broker) -> None:
    await broker.submit(job("a", rows=2))
    assert await cancel(broker, "a", "anonymous")
    assert [event.error.code for event in await read(broker, "a") if event.error] == ["cancelled", "cancelled"]
    assert (await status_of(broker, "a", "anonymous")).state == "cancelled"
    assert not await cancel(broker, "a", "anonymous")
    assert await take(broker) == []


async def test_a_running_jobs_cancel_is_announced_and_its_lease_is_lost(broker: Broker) -> None:
    listener = await broker.cancelled()
    announced = asyncio.ensure_future(anext(listener))
    await asyncio.sleep(0)
    await broker.submit(job("a", rows=2))
    lease = await take_one(broker)
    await emit(broker, lease, [done("a", 0)])
    assert await cancel(broker, "a", "anonymous")
    assert await announced == ident("a")
    assert [event.kind for event in await read(broker, "a")] == ["done", "failed"]
    assert not await emit(broker, lease, [done("a", 1)])
    assert await broker.extend([lease]) == [lease]
    await listener.aclose()


async def test_a_queued_job_ends_at_its_deadline(broker: Broker, clock: Clock) -> None:
    await broker.submit(job("a", deadline=clock.now + 5.0))
    await broker.submit(job("b", deadline=clock.now + 50.0))
    reader = asyncio.create_task(read(broker, "a"))
    await asyncio.sleep(0)
    clock.advance(6.0)
    assert name_of((await take_one(broker)).job.id) == "b"
    assert [event.error.code for event in await reader if event.error] == ["deadline_exceeded"]
    assert (await status_of(broker, "a", "anonymous")).state == "expired"


async def test_a_released_job_still_ends_at_its_deadline(broker: Broker, clock: Clock) -> None:
    await broker.submit(job("a", deadline=clock.now + 5.0))
    lease = await take_one(broker)
    clock.advance(6.0)
    assert (await status_of(broker, "a", "anonymous")).state == "running"
    await broker.release([lease])
    assert (await status_of(broker, "a", "anonymous")).state == "expired"


# Bounds


async def test_a_full_queue_refuses_and_says_when_there_is_room(make_broker: MakeBroker) -> None:
    broker = make_broker(max_queue_seconds=10.0)
    await broker.submit(job("a", seconds=8.0))
    with pytest.raises(QueueFull, match=r"8\.0 s of work are queued .* needs 6\.0 s, the queue holds 10 s") as refused:
        await broker.submit(job("b", seconds=6.0))
    assert refused.value.retry_after_s == pytest.approx(4.0)
    with pytest.raises(NotFound):
        await status_of(broker, "b", "anonymous")
    assert not (await broker.submit(job("c", seconds=2.0))).existing


async def test_a_job_alone_is_admitted_however_large(make_broker: MakeBroker) -> None:
    broker = make_broker(max_queue_seconds=10.0)
    assert not (await broker.submit(job("a", seconds=1000.0))).existing


async def test_the_number_of_queued_jobs_is_bounded(make_broker: MakeBroker) -> None:
    broker = make_broker(max_queued_jobs=64)
    refused = 0
    for index in range(300):
        try:
            await broker.submit(job(f"j{index}", seconds=0.001))
        except QueueFull:
            refused += 1
    assert refused == 236
    with pytest.raises(QueueFull, match="64 jobs are queued, the queue holds 64: retry after 1 s"):
        await broker.submit(job("late", seconds=0.001))


async def test_retry_after_follows_the_measured_drain_rate(make_broker: MakeBroker, clock: Clock) -> None:
    broker = make_broker(max_queue_seconds=10.0)
    for index in range(4):  # each needs twice what was predicted; idle time between them does not count
        await broker.submit(job(f"warm{index}", seconds=2.0))
        lease = await take_one(broker)
        clock.advance(4.0)
        await finish(broker, lease)
        clock.advance(100.0)
    await broker.submit(job("a", seconds=10.0))
    with pytest.raises(QueueFull) as refused:
        await broker.submit(job("b", seconds=5.0))
    assert refused.value.retry_after_s == pytest.approx(10.0)


async def test_a_full_queue_heals_when_deadlines_pass_without_a_worker(make_broker: MakeBroker, clock: Clock) -> None:
    broker = make_broker(max_queued_jobs=1)
    await broker.submit(job("a", deadline=clock.now + 1.0))
    clock.advance(2.0)
    assert not (await broker.submit(job("b"))).existing


async def test_one_models_queue_does_not_fill_anothers(make_broker: MakeBroker) -> None:
    broker = make_broker(max_queued_jobs=1)
    await broker.submit(job("a"))
    assert not (await broker.submit(job("b", model=ModelRef("other", "1", "1" * 64)))).existing


async def test_ended_jobs_are_kept_for_their_time_and_then_forgotten(make_broker: MakeBroker, clock: Clock) -> None:
    broker = make_broker(result_ttl_seconds=100.0)
    await broker.submit(job("a", idempotency_key="k"))
    await finish(broker, await take_one(broker))
    clock.advance(99.0)
    assert name_of((await broker.submit(job("again", idempotency_key="k"))).job_id) == "a"
    clock.advance(2.0)
    assert name_of((await broker.submit(job("anew", idempotency_key="k"))).job_id) == "anew"
    with pytest.raises(NotFound):
        await status_of(broker, "a", "anonymous")


async def test_ended_jobs_are_bounded_in_number_and_bytes(make_broker: MakeBroker) -> None:
    for limits in ({"max_kept_jobs": 3}, {"max_kept_bytes": 3 * 85_000}):
        broker = make_broker(**limits)
        for index in range(10):
            await broker.submit(job(f"j{index}"))
            await emit(broker, await take_one(broker), [done(f"j{index}", x=np.zeros((1, 10_000)))])
        kept, _ = await broker.jobs("anonymous")
        assert [name_of(status.id) for status in kept] == ["j9", "j8", "j7"]


# Deadlines at the door


async def test_what_cannot_be_done_by_its_deadline_is_refused_at_once(broker: Broker, clock: Clock) -> None:
    await broker.submit(job("a", seconds=8.0))
    with pytest.raises(QueueFull, match=r"in 9\.000 s, 8\.000 s .* needs 2\.000 s: give it 10000 ms") as refused:
        await broker.submit(job("b", seconds=2.0, deadline=clock.now + 9.0))
    assert refused.value.retry_after_s == pytest.approx(1.0)
    assert not (await broker.submit(job("c", seconds=2.0, deadline=clock.now + 11.0))).existing
    with pytest.raises(NotFound):
        await status_of(broker, "b")


async def test_a_deadline_shorter_than_the_work_is_refused_by_an_empty_queue_too(broker: Broker, clock: Clock) -> None:
    with pytest.raises(
        InvalidInput, match=r"in 5\.000 s .* needs 8\.000 s: give it 8000 ms, or fewer items"
    ) as refused:
        await broker.submit(job("a", seconds=8.0, deadline=clock.now + 5.0))
    assert refused.value.invalid[0].place == "deadline_ms"


async def test_what_goes_first_by_its_class_does_not_count_what_waits_behind(broker: Broker, clock: Clock) -> None:
    await broker.submit(job("bulk", seconds=30.0, priority="bulk"))
    urgent = job("urgent", seconds=2.0, priority="interactive", deadline=clock.now + 3.0)
    assert not (await broker.submit(urgent)).existing


async def test_the_measured_drain_rate_decides_what_can_be_done(make_broker: MakeBroker, clock: Clock) -> None:
    broker = make_broker()
    for index in range(4):  # four workers, say: a predicted second takes a quarter of one
        await broker.submit(job(f"warm{index}", seconds=4.0))
        lease = await take_one(broker)
        clock.advance(1.0)
        await finish(broker, lease)
    for name in ("a0", "a1", "a2", "a3"):
        await broker.submit(job(name, seconds=2.0))
    assert not (await broker.submit(job("b", seconds=2.0, deadline=clock.now + 4.5))).existing
    assert (await status_of(broker, "b")).start_in_seconds == pytest.approx(2.0)


# Whoever waits, and whoever does not


async def test_an_abandoned_job_is_cancelled_unless_it_is_detached(broker: Broker) -> None:
    for name, detached in (("awaited", False), ("detached", True)):
        await broker.submit(job(name, detached=detached))
        await broker.abandon(job(name).id)
    assert (await status_of(broker, "detached")).state == "queued"
    assert (await status_of(broker, "awaited")).state == "cancelled"


async def test_a_job_becomes_detached_where_its_key_is_used_again_for_one(broker: Broker) -> None:
    await broker.submit(job("a", idempotency_key="k", detached=False, request=b""))
    assert (await broker.jobs("anonymous"))[0] == []
    assert (await broker.submit(job("b", idempotency_key="k", request=b"asked"))).existing
    await broker.abandon(job("a").id)
    assert (await status_of(broker, "a")).state == "queued"
    assert await broker.request(job("a").id, "anonymous") == b"asked"
    assert [name_of(status.id) for status in (await broker.jobs("anonymous"))[0]] == ["a"]


async def test_a_jobs_request_is_kept_with_it_and_belongs_to_its_tenant(broker: Broker) -> None:
    await broker.submit(job("a", tenant="A", request=b"asked"))
    await finish(broker, await take_one(broker))
    assert await broker.request(job("a").id, "A") == b"asked"
    with pytest.raises(NotFound):
        await broker.request(job("a").id, "B")


async def test_progress_is_the_part_of_the_work_that_is_done(broker: Broker, clock: Clock) -> None:
    await broker.submit(job("a", rows=2, stream=True))
    lease = await take_one(broker)
    for row, index, progress, whole in ((0, 0, 0.25, 0.125), (0, 1, 0.5, 0.25), (1, 0, 0.5, 0.5), (1, 0, 0.9, 0.5)):
        await emit(broker, lease, [replace(step("a", row, index), progress=np.array([progress]))])
        assert (await status_of(broker, "a")).progress == pytest.approx(whole)
    clock.advance(2.0)
    await finish(broker, lease)
    status = await status_of(broker, "a")
    assert (status.progress, status.ended_at, status.operation) == (1.0, clock.now, "toy/op")
    assert status.submitted_at == clock.now - 2.0


async def test_a_replayed_jobs_request_is_still_there(make_broker: MakeBroker, clock: Clock) -> None:
    broker = make_broker(lease_seconds=10.0, max_attempts=1, result_ttl_seconds=5.0)
    await broker.submit(job("a", request=b"asked"))
    await take_one(broker)
    for _ in range(2):  # given up, and forgotten
        clock.advance(11.0)
        assert await take(broker) == []
    await replay(broker, "a")
    await finish(broker, await take_one(broker))
    assert await broker.request(job("a").id, "anonymous") == b"asked"


# Idempotency


async def test_a_hundred_times_the_same_key_is_one_job(broker: Broker) -> None:
    answers = await asyncio.gather(
        *(broker.submit(job(f"j{i}", idempotency_key="k", body_sha256="s")) for i in range(100))
    )
    assert {name_of(answer.job_id) for answer in answers} == {"j0"}
    assert sum(not answer.existing for answer in answers) == 1
    assert (await broker.depth(M)).waiting_jobs == 1


async def test_a_key_with_another_body_is_a_conflict_that_names_both(broker: Broker) -> None:
    await broker.submit(job("a", idempotency_key="k", body_sha256="aaaa"))
    with pytest.raises(IdempotencyConflict, match=r"aaaa.*bbbb"):
        await broker.submit(job("b", idempotency_key="k", body_sha256="bbbb"))


async def test_keys_belong_to_their_tenant(broker: Broker) -> None:
    await broker.submit(job("a", tenant="A", idempotency_key="k", body_sha256="aaaa"))
    assert name_of((await broker.submit(job("b", tenant="B", idempotency_key="k", body_sha256="bbbb"))).job_id) == "b"


# Operators


async def test_depth_counts_what_waits_and_what_runs(broker: Broker) -> None:
    for name in ("a", "b", "c"):
        await broker.submit(job(name, seconds=1.5))
    await take_one(broker)
    assert await broker.depth(M) == Depth(2, 1, 4.5)
    assert (await status_of(broker, "b", "anonymous")).position == 0
    assert (await status_of(broker, "c", "anonymous")).position == 1
    assert await broker.depth("unknown@1") == Depth(0, 0, 0.0)


async def test_heartbeats_and_control_messages_arrive(broker: Broker, clock: Clock) -> None:
    await broker.heartbeat(WorkerStatus("w", "cpu", "scope"))
    clock.advance(3.0)
    (status,) = await broker.workers()
    assert (status.id, clock.now - status.beat_at) == ("w", 3.0)
    orders = await broker.control()
    received = asyncio.ensure_future(anext(orders))
    await asyncio.sleep(0)
    await broker.send(ControlMessage("unload", MODEL))
    assert await received == ControlMessage("unload", MODEL)
    await orders.aclose()


async def test_an_alias_is_what_it_was_set_to_last(broker: Broker) -> None:
    assert await broker.aliases() == {}
    for version in ("m@1", "m@2"):
        await broker.set_alias("m@default", version)
    assert await broker.aliases() == {"m@default": "m@2"}


async def test_a_waiting_take_is_woken_by_a_job(broker: Broker) -> None:
    taker = asyncio.create_task(broker.take([M], budget=1.0, wait=60.0))
    await asyncio.sleep(0)
    await broker.submit(job("a"))
    assert [name_of(lease.job.id) for lease in await taker] == ["a"]


async def test_a_take_waits_no_longer_than_it_was_told(broker: Broker) -> None:
    assert await broker.take([M], budget=1.0, wait=0.001) == []


async def test_a_job_that_ended_before_anybody_read_it_is_read_in_full(broker: Broker) -> None:
    async def answered(name: str) -> None:
        await broker.submit(job(name, detached=False))
        await finish(broker, await take_one(broker))

    for name in "abc":  # what is heard of c comes after what is heard of b
        await answered(name)
        if name != "b":
            assert await read(broker, name) == seen([done(name)])
    assert await read(broker, "b") == seen([done("b")])


async def test_sixteen_tenths_of_a_second_fit_in_a_budget_of_sixteen_tenths(broker: Broker) -> None:
    for number in range(17):
        await broker.submit(job(str(number), seconds=0.1))
    assert len(await take(broker, budget=1.6)) == 16


LAST_STEP = 3
moves = st.lists(st.tuples(st.integers(0, 5), st.integers(1, 6), st.booleans()), max_size=10)


def advance(reached: np.ndarray, start: int, stop: int) -> list[Events]:
    """The next event of each row of a range that has not ended."""
    rows = np.arange(len(reached))[start:stop]
    rows = rows[reached[rows] <= LAST_STEP]
    steps = reached[rows]
    reached[rows] += 1
    parts: dict[Literal["step", "done"], np.ndarray] = {"step": steps < LAST_STEP, "done": steps == LAST_STEP}
    return [Events(ident("a"), kind, rows[part], steps[part]) for kind, part in parts.items() if part.any()]


async def publish_and_check(
    broker: Broker, clock: Clock, rows: int, attempts: Sequence[Sequence[tuple[int, int, bool]]]
) -> None:
    """Each attempt begins at the first step; the last one gets to the end."""
    await broker.submit(job("a", rows=rows, stream=True))
    for attempt in (*attempts, [(0, rows, False)] * (LAST_STEP + 1)):
        reached = np.zeros(rows, np.int64)
        for lease in await take(broker):
            for start, stop, twice in attempt:
                events = advance(reached, start, stop)
                for _ in range(1 + twice):
                    await emit(broker, lease, events)
        clock.advance(1000.0)
    events = await read(broker, "a")
    await broker.close()
    for row in range(rows):
        assert [event.index for event in events if event.row == row] == list(range(LAST_STEP + 1))
    assert len(events) == rows * (LAST_STEP + 1)


async def test_whatever_ranges_reruns_and_repeats_cut_each_event_is_published_once(
    make_broker: MakeBroker, clock: Clock
) -> None:
    @settings(max_examples=50, deadline=None)
    @given(st.integers(1, 6), st.lists(moves, max_size=3))
    def each_cut(rows: int, attempts: list[list[tuple[int, int, bool]]]) -> None:
        asyncio.run(publish_and_check(make_broker(max_attempts=9, result_ttl_seconds=1e9), clock, rows, attempts))

    await asyncio.to_thread(each_cut)


async def test_the_ends_are_there_for_those_who_wait_and_those_who_come_later(broker: Broker) -> None:
    await broker.submit(job("a", rows=3, stream=True))
    lease = await take_one(broker)
    waiting = [asyncio.create_task(broker.ends(ident("a"))) for _ in range(2)]
    await emit(broker, lease, [step("a"), events_of("a", "done", [1, 2]), failure("a", 0)])
    for ends in (*[await one for one in waiting], await broker.ends(ident("a"))):
        assert [(event.row, event.kind) for event in seen(ends)] == [(1, "done"), (2, "done"), (0, "failed")]
    with pytest.raises(NotFound):
        await broker.ends(ident("b"))
