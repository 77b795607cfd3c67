"""Jobs that kill, raise or want too much memory fail alone."""

import toy
from chaos.family import HOG, KILLER
from chaos.history import History, Verdict, leftovers
from chaos.knobs import Knobs, Start
from chaos.supervisor import Supervisor
from queue_server import Server


async def test_a_job_that_kills_its_process_is_given_up_after_three_and_its_neighbours_are_done(
    history: History, server: Server, knobs: Knobs
) -> None:
    with Supervisor(2, knobs) as workers, server.client as client:
        good = (history.scale(1, ms=2) for _ in range(20))
        await history.submit_all(good)
        poison = await history.submit(history.scale(1, KILLER))
        await history.submit_all(history.scale(2, ms=2) for _ in range(20))
        verdict = await history.verdict(client, frozenset([poison]))
        assert (verdict.jobs, verdict.lost, verdict.twice) == (41, [], [])
        assert verdict.worst_attempts <= 3
        (dead,) = await history.broker.dead()
        assert (dead.id, dead.attempts) == (poison, 3)
        assert leftovers(client, history.model) == {}
        assert workers.recovery_seconds


async def test_a_row_that_raises_and_one_that_needs_all_memory_leave_their_neighbours_alone(
    start: Start, history: History, server: Server
) -> None:
    start("worker")
    raising = await history.submit(history.scale(toy.POISON))
    await history.submit_all(history.scale(HOG, HOG, HOG, HOG, 5, 6) for _ in range(4))
    await history.submit_all(history.scale(1, 2) for _ in range(4))
    with server.client as client:
        assert await history.verdict(client, frozenset([raising])) == Verdict(9, [], [], 1)
        assert [event.failure.code for event in await history.events(raising) if event.failure] == ["row_failed"]
        assert await history.broker.dead() == []
