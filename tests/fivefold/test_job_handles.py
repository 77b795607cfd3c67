"""Handles of jobs: the same for both clients, against a hostile server and against the real one."""

import inspect
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import toy
from both import IMAGES, PREVIEW, Outcome, comparable, event, plain, stream
from hostile import EVENTS, HostileServer, Script, answer, head, problem
from served import Gate, Service, serving
from toy import COUNT, SCALE, ToyCountRequest, ToyScaleRequest

from fivefold import AsyncClient, AsyncJobHandle, Client, JobHandle
from fivefold.admin import Admin, AsyncAdmin
from fivefold.diffusion import SAMPLE, DiffusionPreview
from fivefold.errors import (
    Cancelled,
    ConnectionFailed,
    FivefoldError,
    InvalidInput,
    NotFound,
    NotReady,
    RowFailed,
    TimedOut,
    TransportError,
    UnknownModel,
)
from fivefold.methods import Method
from fivefold.operation import NPY_TYPE
from model_store.store import Store

JOB = {
    "id": "m@1-0",
    "operation": SAMPLE.path,
    "model": "m@1",
    "state": "running",
    "rows": 1,
    "rows_finished": 0,
    "progress": 0.5,
    "submitted_at": "2030-01-01T00:00:00Z",
}
ACCEPTED = answer(202, JOB, {"content-type": "application/json", "preference-applied": "respond-async"})
FIRST, SECOND = {**PREVIEW, "step": 1}, {**PREVIEW, "step": 2}


def numbered(event_id: str, name: str, data: object) -> bytes:
    return f"id: {event_id}\n".encode() + event(name, data)


ONE, TWO, DONE = numbered("0.0", "chunk", FIRST), numbered("0.1", "chunk", SECOND), event("done", IMAGES)
AWAY = event("error", {"code": "not_ready", "detail": "the queue is away"})


async def settled(value: Any) -> Any:
    return await value if isinstance(value, Awaitable) else value


async def collected(values: Any) -> list[Any]:
    return list(values) if hasattr(values, "__iter__") else [value async for value in values]


async def waited(client: Any, **options: Any) -> Any:
    handle = await settled(client.diffusion_sample.submit(class_name="boot", steps=2))
    return await settled(handle.wait(**options))


async def followed(client: Any) -> Any:
    handle = await settled(client.diffusion_sample.submit(class_name="boot", steps=2))
    chunks = await collected(events := handle.events())
    return [chunk.step for chunk in chunks], events.answer.results[0].seed


async def found(client: Any) -> Any:
    return (await settled(client.job("m@1-0"))).operation


async def listed(client: Any) -> Any:
    return [job.id for job in await collected(client.jobs())]


def page(*ids: str, following: str | None = None) -> Script:
    return answer(200, {"jobs": [{**JOB, "id": one} for one in ids], "next": following})


@dataclass(frozen=True)
class Scenario:
    """The answers of the server, what the client does, and what comes of it: a value, or a class of error.

    `last_ids` are the Last-Event-IDs of the requests for events, in their order.
    """

    name: str
    script: Sequence[Script]
    act: Callable[[Any], Awaitable[Any]]
    expected: Any
    last_ids: Sequence[str | None] = (None,)
    options: dict[str, Any] = field(default_factory=dict)


WHOLE = ([1, 2], 7)
SCENARIOS = (
    Scenario("followed at once", [ACCEPTED, stream(ONE, TWO, DONE)], followed, WHOLE),
    Scenario("refused, then accepted", [problem(429, "queue_full"), ACCEPTED, stream(ONE, TWO, DONE)], followed, WHOLE),
    Scenario("cut after an event", [ACCEPTED, stream(ONE), stream(TWO, DONE)], followed, WHOLE, (None, "0.0")),
    Scenario("cut in an event", [ACCEPTED, stream(ONE, TWO[:-7]), stream(TWO, DONE)], followed, WHOLE, (None, "0.0")),
    Scenario("cut in an id", [ACCEPTED, stream(ONE, TWO[:6]), stream(TWO, DONE)], followed, WHOLE, (None, "0.0")),
    Scenario("cut before the answer", [ACCEPTED, stream(ONE, TWO), stream(DONE)], followed, WHOLE, (None, "0.1")),
    Scenario(
        "cut in the answer", [ACCEPTED, stream(ONE, TWO, DONE[:-9]), stream(DONE)], followed, WHOLE, (None, "0.1")
    ),
    Scenario("cut before any event", [ACCEPTED, Script(), stream(ONE, TWO, DONE)], followed, WHOLE, (None, None)),
    Scenario(
        "cut more often than there are attempts, but never without news",
        [ACCEPTED, *[stream(ONE)] * 5, stream(TWO, DONE)],
        followed,
        ([1] * 5 + [2], 7),
        (None, *["0.0"] * 5),
    ),
    Scenario(
        "cut while nothing but comments come",
        [ACCEPTED, *[stream()] * 4, stream(ONE, TWO, DONE)],
        followed,
        WHOLE,
        (None,) * 5,
    ),
    Scenario("the queue is away", [ACCEPTED, stream(ONE, AWAY), stream(TWO, DONE)], followed, WHOLE, (None, "0.0")),
    Scenario(
        "the service restarts",
        [ACCEPTED, stream(ONE), Script(), problem(503, "not_ready"), stream(TWO, DONE)],
        followed,
        WHOLE,
        (None, "0.0", "0.0", "0.0"),
    ),
    Scenario("nobody comes back", [ACCEPTED, *[Script()] * 3], followed, ConnectionFailed, (None,) * 3),
    Scenario("always away", [ACCEPTED, *[Script(head(200, EVENTS) + AWAY)] * 3], followed, NotReady, (None,) * 3),
    Scenario("another page", [ACCEPTED, *[answer(200, b"<html>")] * 3], followed, ConnectionFailed, (None,) * 3),
    Scenario("no retries", [ACCEPTED, Script()], followed, ConnectionFailed, (None,), {"max_retries": 0}),
    Scenario(
        "fails", [ACCEPTED, stream(ONE, event("error", {"code": "row_failed", "detail": "x"}))], waited, RowFailed
    ),
    Scenario(
        "is cancelled", [ACCEPTED, stream(event("error", {"code": "cancelled", "detail": "x"}))], waited, Cancelled
    ),
    Scenario("is forgotten", [ACCEPTED, problem(404, "not_found")], waited, NotFound),
    Scenario(
        "event unknown", [ACCEPTED, stream(ONE), problem(422, "invalid_input")], waited, InvalidInput, (None, "0.0")
    ),
    Scenario(
        "takes too long", [ACCEPTED, stream(ONE, hold=True)], lambda client: waited(client, timeout=0.05), TimedOut
    ),
    Scenario("answers at once", [answer(200, IMAGES)], waited, InvalidInput, ()),
    Scenario("garbage for a job", [answer(202, b"}{", {"preference-applied": "x"})], waited, TransportError, ()),
    Scenario("a job by its id", [answer(200, JOB)], found, SAMPLE, ()),
    Scenario("a job of a stranger", [answer(200, {**JOB, "operation": "/v1/x/y"})], found, InvalidInput, ()),
    Scenario("no such job", [problem(404, "not_found")], found, NotFound, ()),
    Scenario("pages", [page("a", "b", following="2"), page("c")], listed, ["a", "b", "c"], ()),
    Scenario("no jobs", [page()], listed, [], ()),
    Scenario("a page that fails, then comes", [problem(503, "not_ready"), page("a")], listed, ["a"], ()),
    Scenario(
        "an order is not repeated",
        [problem(503, "not_ready")],
        lambda client: settled(client.admin.drain()),
        NotReady,
        (),
    ),
    Scenario(
        "a question is",
        [problem(503, "not_ready"), answer(200, {"models": [], "workers": [], "dead_jobs": 3})],
        lambda client: settled(client.admin.queue()),
        lambda queue: queue.dead_jobs == 3,
        (),
    ),
)


async def outcome(server: HostileServer, scenario: Scenario, kind: type) -> Outcome:
    server.play(scenario.script)
    pauses_s: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses_s.append(seconds)

    client = kind(server.url, sleep=pauses_s.append if kind is Client else sleep, **scenario.options)
    try:
        result = await scenario.act(client)
    except FivefoldError as error:
        result = error
    finally:
        await settled(client.close())
    return Outcome(result, pauses_s, server.asked)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=[scenario.name for scenario in SCENARIOS])
async def test_both_handles_do_the_same_and_the_right_thing(hostile: HostileServer, scenario: Scenario) -> None:
    outcomes = [await outcome(hostile, scenario, kind) for kind in (Client, AsyncClient)]
    blocking, awaited = outcomes
    assert comparable(blocking.result) == comparable(awaited.result)
    assert [plain(asked) for asked in blocking.asked] == [plain(asked) for asked in awaited.asked]
    for one in outcomes:
        if isinstance(scenario.expected, type):
            assert type(one.result) is scenario.expected
        elif callable(scenario.expected):
            assert scenario.expected(one.result)
        else:
            assert one.result == scenario.expected
        events = [asked.headers for asked in one.asked if "/events" in asked.line]
        assert [headers.get("last-event-id") for headers in events] == list(scenario.last_ids)
        assert not hostile.script
        assert all(0 <= pause_s < 10 for pause_s in one.pauses_s)


def test_a_job_is_submitted_once_whatever_happens_to_its_answer(hostile: HostileServer) -> None:
    hostile.play([Script(), Script(ACCEPTED.data[:-9]), ACCEPTED])
    with Client(hostile.url, sleep=lambda _: None) as client:
        assert client.diffusion_sample.submit(class_name="boot").id == "m@1-0"
    assert {asked.headers["prefer"] for asked in hostile.asked} == {"respond-async"}
    assert len({asked.headers["idempotency-key"] for asked in hostile.asked}) == 1


def test_an_id_stays_one_part_of_the_path(hostile: HostileServer) -> None:
    hostile.play([answer(200, JOB), answer(200, JOB), problem(404, "not_found")])
    with Client(hostile.url) as client:
        client.job("a/../b?c#d@1").status()
        with pytest.raises(NotFound):
            client.admin.drain("a/b")
    assert [asked.line.split()[1] for asked in hostile.asked] == [
        *["/v1/jobs/a%2F..%2Fb%3Fc%23d@1"] * 2,
        "/v1/admin/workers/a%2Fb/drain",
    ]


def test_leaving_the_events_early_closes_their_connection(hostile: HostileServer) -> None:
    hostile.play([ACCEPTED, stream(ONE, hold=True)])
    with Client(hostile.url) as client:
        with client.diffusion_sample.submit(class_name="boot").events() as events:
            assert next(iter(events)) == DiffusionPreview.model_validate(FIRST)
        assert hostile.gone.wait(5)


async def test_leaving_the_asynchronous_events_early_closes_their_connection(hostile: HostileServer) -> None:
    hostile.play([ACCEPTED, stream(ONE, hold=True)])
    async with AsyncClient(hostile.url) as client:
        async with (await client.diffusion_sample.submit(class_name="boot")).events() as events:
            await anext(aiter(events))
        assert hostile.gone.wait(5)


@pytest.mark.parametrize(("one", "other"), [(JobHandle, AsyncJobHandle), (Admin, AsyncAdmin)])
def test_both_kinds_have_the_same_methods_with_the_same_arguments(one: type, other: type) -> None:
    def surface(kind: type) -> dict[str, list[str]]:
        functions = inspect.getmembers(kind, inspect.isfunction)
        return {name: list(inspect.signature(each).parameters) for name, each in functions if name[0] != "_"}

    assert surface(one) == surface(other)
    assert len(surface(one)) >= 5


# Against the real service


class ToyClient(Client):
    toy_count = Method(COUNT, ToyCountRequest)


@pytest.fixture
def service(toy_store: Store) -> Iterator[Service]:
    with serving(toy_store) as running:
        yield running


async def test_a_job_ends_in_the_answer_of_the_call(service: Service) -> None:
    request = ToyCountRequest(n=3, seed=5, steps=4)
    with Client(service.url) as client:
        called, handle = client.call(COUNT, request), client.submit(COUNT, request)
        answer_, events = handle.wait(timeout=30), handle.events()
        steps = sorted((chunk.index, chunk.step) for chunk in events)
        status, raw = handle.status(), handle.raw(NPY_TYPE)
        direct = client.raw(COUNT, request, NPY_TYPE)
    assert answer_.items == called.items == events.answer.items
    assert answer_.meta.receipt == called.meta.receipt
    assert steps == [(index, step) for index in range(3) for step in (1, 2, 3, 4)]
    assert (status.state, status.ended, status.progress) == ("done", True, 1.0)
    assert raw.content == direct.content
    async with AsyncClient(service.url) as client:
        again = await client.job(handle.id, COUNT)
        assert (await again.wait()).items == called.items
        assert [chunk.index async for chunk in again.events()].count(0) == 4
        assert (await again.raw(NPY_TYPE)).content == direct.content
        assert [job.id async for job in client.jobs()] == [handle.id]


def test_a_client_knows_the_operations_of_its_own_methods(service: Service) -> None:
    with ToyClient(service.url) as client:
        handle = client.toy_count.submit(n=2, seed=1)
        assert client.job(handle.id).wait().items == client.toy_count(n=2, seed=1).items
        assert repr(handle) == f"JobHandle(id='{handle.id}')"


async def test_jobs_are_cancelled_and_what_is_unfinished_has_no_bytes(toy_store: Store) -> None:
    gate = Gate()
    with serving(toy_store, [gate.family]) as service:
        with Client(service.url) as client:
            handle = client.submit(SCALE, ToyScaleRequest(rows=[[0.0] * 4]))
            assert gate.reached.wait(10)
            with pytest.raises(NotReady, match="has not ended"):
                handle.raw(NPY_TYPE)
            with pytest.raises(TimedOut, match=r"not ended in 0\.05 s"):
                handle.wait(timeout=0.05)
            assert handle.cancel().state == handle.status().state == "cancelled"
            with pytest.raises(Cancelled):
                handle.wait()
        async with AsyncClient(service.url) as client:
            with pytest.raises(Cancelled):
                await (await client.job(handle.id, SCALE)).wait()
        gate.opened.set()


def test_what_a_job_cannot_do_is_raised_as_the_call_would(service: Service) -> None:
    with Client(service.url) as client:
        with pytest.raises(InvalidInput, match="3 numbers given, 4 expected"):
            client.submit(SCALE, ToyScaleRequest(rows=[[0.0] * 3]))
        with pytest.raises(RowFailed):
            client.submit(SCALE, ToyScaleRequest(rows=[[toy.POISON] * 4])).wait()
        with pytest.raises(NotFound, match="there is no job 'x'"):
            client.job("x")


async def test_an_operator_has_the_same_methods_in_both_clients(service: Service) -> None:
    with Client(service.url) as client:
        queue = client.admin.queue()
        assert [model.model for model in queue.models] == ["toy-affine@1"]
        assert client.admin.dead() == []
        with pytest.raises(NotFound, match="no dead job"):
            client.admin.replay("x")
        with pytest.raises(UnknownModel):
            client.admin.load("nobody")
        with pytest.raises(NotFound, match="no worker"):
            client.admin.unload("toy-affine", worker="x")
        with pytest.raises(InvalidInput, match="alias"):
            client.admin.alias("toy-affine", "No Alias", "1")
        with pytest.raises(InvalidInput, match="'9' given"):
            client.admin.alias("toy-affine", "stable", "9")
        assert client.admin.alias("toy-affine", "stable", "1").version == "1"
    async with AsyncClient(service.url) as client:
        assert (await client.admin.queue()).workers[0].id == queue.workers[0].id
        assert await client.admin.dead() == []
        assert (await client.admin.load("toy-affine")).workers == [service.worker.id]
        assert (await client.admin.alias("toy-affine", "stable", "1")).alias == "stable"
        with pytest.raises(NotFound):
            await client.admin.replay("x")
        assert (await client.admin.unload("toy-affine", worker=service.worker.id)).action == "unload"
        assert (await client.admin.drain(service.worker.id)).workers == [service.worker.id]


def test_an_operation_that_answers_at_once_is_no_job(shipped_url: str) -> None:
    with Client(shipped_url) as client, pytest.raises(InvalidInput, match="answers at once"):
        client.transformer_tokenize.submit(texts=["a"])
