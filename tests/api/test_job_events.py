"""Following a job: the frames of the streaming route, from any event on, on any replica, for as long as it takes."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from itertools import count

import httpx
import pytest
import toy
from served import Gate, Service, serving
from waiting import until

from fivefold.errors import NotFound
from fivefold.transformer import TransformerGenerateRequest
from model_store.store import Store
from service.api.app import create_app
from service.api.routes.server_sent_events import EventStream
from service.broker.memory import MemoryBroker
from service.families.registry import FAMILIES
from service.jobs import Events
from service.settings import Settings
from service.telemetry import Metrics

SCALE, COUNT, JOBS = "/v1/toy/scale", "/v1/toy/count", "/v1/jobs"
ASYNC, STREAM = {"prefer": "respond-async"}, {"accept": "text/event-stream"}


def submit(http: httpx.Client, path: str, body: dict) -> str:
    return http.post(path, json=body, headers=ASYNC).headers["location"]


def frames(answer: httpx.Response) -> list[tuple[str, str | None, dict]]:
    """(event, id, data); comments are left out."""
    assert answer.is_success, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    parsed = []
    for frame in answer.text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in frame.split("\n"))
        if "event" in fields:
            parsed.append((fields["event"], fields.get("id"), json.loads(fields["data"])))
    return parsed


def follow(http: httpx.Client, job: str, last: str | None = None) -> list[tuple[str, str | None, dict]]:
    return frames(http.get(f"{job}/events", headers={} if last is None else {"last-event-id": last}))


@pytest.fixture(scope="module")
def shipped_http() -> Iterator[httpx.Client]:
    with (
        serving(Store(), FAMILIES, models=("transformer-english",)) as service,
        httpx.Client(base_url=service.url, timeout=30) as http,
    ):
        yield http


def test_a_job_has_the_frames_of_the_streaming_route(http: httpx.Client) -> None:
    body = {"n": 2, "seed": 3, "steps": 3}
    streamed = frames(http.post(COUNT, json=body, headers=STREAM))
    followed = follow(http, submit(http, COUNT, body))
    assert sorted(followed[:-1], key=lambda frame: frame[1]) == sorted(streamed[:-1], key=lambda frame: frame[1])
    assert [name for name, _, _ in followed].count("chunk") == 6
    assert (followed[-1][0], followed[-1][2]["items"]) == ("done", streamed[-1][2]["items"])


def test_an_operation_without_chunks_has_its_items(http: httpx.Client) -> None:
    followed = follow(http, submit(http, SCALE, {"rows": [[1] * 4, [2] * 4]}))
    assert [name for name, _, _ in followed] == ["item", "item", "done"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (COUNT, {"n": 3, "seed": 1, "steps": 4}),
        (SCALE, {"rows": [[1.0] * 4, [toy.POISON] * 4, [2.0] * 4]}),
        (SCALE, {"rows": [[1], [2] * 4, [3] * 4], "on_error": "skip"}),
    ],
)
def test_what_came_before_a_cut_and_what_comes_after_it_are_the_whole(
    http: httpx.Client, path: str, body: dict
) -> None:
    job = submit(http, path, body)
    whole = follow(http, job)
    assert len({event_id for _, event_id, _ in whole}) == len(whole)
    for cut in range(1, len(whole)):
        last = whole[cut - 1][1]
        assert whole[:cut] + follow(http, job, last) == whole


def test_text_that_is_cut_anywhere_goes_on_with_whole_characters(shipped_http: httpx.Client) -> None:
    asked = TransformerGenerateRequest(prompt="Naïve — “", seed=3, max_tokens=24, temperature=1.5, stop=["e t"])
    job = submit(shipped_http, "/v1/transformer/generate", asked.model_dump(mode="json", exclude_unset=True))
    whole = follow(shipped_http, job)
    for cut in range(1, len(whole)):
        assert whole[:cut] + follow(shipped_http, job, whole[cut - 1][1]) == whole
    pieces = [data["text"] for name, _, data in whole if name == "chunk"]
    assert "".join(pieces) == whole[-1][2]["items"][0]["text"]


def test_a_sharded_job_is_cut_in_any_shard(http: httpx.Client) -> None:
    job = submit(http, COUNT, {"n": 300, "seed": 1, "steps": 1})
    whole = follow(http, job)
    assert len(whole) == 601
    for cut in (1, 511, 512, 513, 600):
        assert follow(http, job, whole[cut - 1][1]) == whole[cut:]


def test_a_job_is_followed_while_it_runs_and_resumed_before_its_end(toy_store: Store) -> None:
    gate = Gate()
    with (
        serving(toy_store, [gate.family]) as service,
        httpx.Client(base_url=service.url, timeout=30) as http,
    ):
        counted = submit(http, COUNT, {"n": 1, "seed": 1, "steps": 2})
        whole = follow(http, counted)
        waiting = submit(http, SCALE, {"rows": [[1] * 4]})
        assert gate.reached.wait(10)
        job = submit(http, COUNT, {"n": 1, "seed": 1, "steps": 2})
        with http.stream("GET", f"{job}/events") as early, http.stream("GET", f"{waiting}/events") as other:
            gate.opened.set()
            early.read()
            other.read()
        assert frames(early)[:-1] == whole[:-1]
        assert [name for name, _, _ in frames(other)] == ["item", "done"]


def test_a_stream_is_resumed_after_a_step_that_is_gone(http: httpx.Client, toy_store: Store) -> None:
    counting = {"n": 2, "seed": 1, "steps": 60}
    whole = [event_id for _, event_id, _ in follow(http, submit(http, COUNT, counting))]
    with (
        serving(toy_store, max_stream_bytes=20_000) as service,
        httpx.Client(base_url=service.url, timeout=30) as bounded,
    ):
        job = submit(bounded, COUNT, counting)
        until(lambda: bounded.get(job).json()["state"] == "done")
        left = [event_id for _, event_id, _ in follow(bounded, job)]
        assert 10 < len(left) < len(whole)
        assert left == whole[-len(left) :]
        for cut in (1, 2, 3, len(whole) - len(left), len(whole) - len(left) + 1, len(whole) - 5):
            beyond = [event_id for _, event_id, _ in follow(bounded, job, whole[cut - 1])]
            assert beyond == whole[max(cut, len(whole) - len(left)) :]


async def test_any_replica_knows_every_job(toy_store: Store) -> None:
    with serving(toy_store) as service, httpx.Client(base_url=service.url, timeout=30) as http:
        job = submit(http, COUNT, {"n": 3, "seed": 1, "steps": 4})
        whole = follow(http, job)
        document = http.get(job).json()
        settings = Settings(store=toy_store.root)
        replica = create_app(settings, service.worker.broker, toy_store, [toy.TOY], Metrics())
        async with httpx.AsyncClient(transport=httpx.ASGITransport(replica), base_url="http://localhost") as other:
            assert (await other.get(job)).json() == document
            assert (await other.get(JOBS)).json()["jobs"][0]["id"] == document["id"]
            for cut in (0, 7, len(whole) - 1):
                headers = {"last-event-id": whole[cut - 1][1]} if cut else {}
                assert frames(await other.get(f"{job}/events", headers=headers)) == whole[cut:]


@pytest.mark.parametrize(
    "last",
    [
        "x",
        "0",
        "0.",
        ".0",
        "-1.0",
        "0.-1",
        "0.0.0",
        "0.99",
        "3.0",
        "99.0",
        "0 .0",
        "1e1.0",
        "٣.0",
        "9" * 5000,
        "0.0\\n",
    ],
)
def test_an_event_that_is_none_of_the_job_is_refused_with_the_way_out(http: httpx.Client, last: str) -> None:
    job = submit(http, COUNT, {"n": 2, "seed": 1, "steps": 2})
    answer = http.get(f"{job}/events", headers={b"last-event-id": last.encode()})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
    assert answer.json()["errors"][0]["place"] == "last-event-id"
    assert "leave it out to start from the beginning" in answer.json()["detail"]
    assert len(answer.json()["detail"]) < 300


def test_events_are_events_and_nothing_else(http: httpx.Client) -> None:
    job = submit(http, COUNT, {"seed": 1})
    assert http.get(f"{job}/events", headers={"accept": "application/json"}).status_code == 406
    headers = http.get(f"{job}/events", headers=STREAM).headers
    assert (headers["cache-control"], headers["x-accel-buffering"]) == ("no-store", "no")


def test_a_job_that_fails_or_is_cancelled_ends_with_its_error(http: httpx.Client) -> None:
    failing = follow(http, submit(http, SCALE, {"rows": [[toy.POISON] * 4]}))
    assert [(name, data.get("code")) for name, _, data in failing] == [("item", None), ("error", "row_failed")]
    job = submit(http, COUNT, {"n": 200, "steps": 100})
    with http.stream("GET", f"{job}/events") as followed:
        lines = followed.iter_lines()
        next(lines)
        http.delete(job)
        assert any('"cancelled"' in line for line in lines)


def test_a_job_that_is_forgotten_while_it_is_followed_ends_with_an_error(
    http: httpx.Client, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit(http, COUNT, {"n": 300, "steps": 1})
    follow(http, job)
    known = MemoryBroker.events

    async def forgetful(broker: MemoryBroker, job_id: str) -> AsyncIterator[Events]:
        if job_id.endswith(".1"):
            raise NotFound("there is no such job")
        async for event in known(broker, job_id):
            yield event

    monkeypatch.setattr(MemoryBroker, "events", forgetful)
    followed = follow(http, job)
    assert len(followed) == 513
    assert (followed[-1][0], followed[-1][2]["code"], followed[-1][2]["status"]) == ("error", "not_found", 404)


def test_leaving_a_stream_leaves_the_job_alone(http: httpx.Client, service: Service) -> None:
    job = submit(http, COUNT, {"n": 100, "steps": 50})
    with http.stream("GET", f"{job}/events") as followed:
        next(followed.iter_bytes())
    assert follow(http, job)[-1][0] == "done"
    assert service.worker.steps.rows_run == 100 * 50


def test_readers_who_leave_are_noticed_while_nothing_happens(toy_store: Store) -> None:
    gate = Gate()
    with serving(toy_store, [gate.family]) as service, httpx.Client(base_url=service.url, timeout=30) as http:
        job = submit(http, SCALE, {"rows": [[1] * 4]})
        assert gate.reached.wait(10)
        readers = service.worker.broker._readers
        with http.stream("GET", f"{job}/events"):
            until(lambda: any(not future.done() for waiting in readers.values() for future in waiting))
        until(lambda: all(future.done() for waiting in readers.values() for future in waiting))
        gate.opened.set()
        assert follow(http, job)[-1][0] == "done"


# Without a server: silence, and readers who do not read


class Wire:
    """A connection: what was sent; `on_send` is awaited with each body."""

    def __init__(self, on_send: Callable[[bytes], Awaitable[None]]) -> None:
        self.bodies: list[bytes] = []
        self.on_send = on_send
        self.gone = asyncio.Event()

    async def send(self, message: dict) -> None:
        if message["type"] == "http.response.body":
            self.bodies.append(message["body"])
            await self.on_send(message["body"])

    async def receive(self) -> dict:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def carry(self, stream: EventStream) -> None:
        await stream({"type": "http", "asgi": {}}, self.receive, self.send)


@pytest.mark.parametrize("watched", [False, True])
async def test_silence_is_filled_with_comments(watched: bool) -> None:
    spoken = asyncio.Event()

    async def silent() -> AsyncGenerator[bytes]:
        yield b"first"
        await spoken.wait()
        yield b"last"

    async def speak(_: bytes) -> None:
        if wire.bodies.count(b": ping\n\n") == 3:
            spoken.set()

    wire = Wire(speak)
    await wire.carry(EventStream(silent(), watched=watched, ping_seconds=0.001))
    assert wire.bodies[0] == b"first"
    assert [body for body in wire.bodies if body != b": ping\n\n"] == [b"first", b"last", b""]
    assert wire.bodies[-1] == b""


async def test_leaving_a_silent_stream_closes_what_is_behind_it() -> None:
    closed = asyncio.Event()

    async def silent() -> AsyncGenerator[bytes]:
        try:
            await asyncio.Event().wait()
            yield b""
        finally:
            closed.set()

    async def leave(_: bytes) -> None:
        wire.gone.set()

    wire = Wire(leave)
    await wire.carry(EventStream(silent(), ping_seconds=0.001))
    assert closed.is_set()
    assert wire.bodies == [b": ping\n\n"]


async def test_a_reader_who_does_not_read_is_not_read_for() -> None:
    made = count()

    async def endless() -> AsyncGenerator[bytes]:
        while True:
            next(made)
            yield b"x" * 1000

    async def stuck(_: bytes) -> None:
        await asyncio.Event().wait()

    wire = Wire(stuck)
    running = asyncio.create_task(wire.carry(EventStream(endless())))
    for _ in range(100):
        await asyncio.sleep(0)
    wire.gone.set()
    await running
    assert next(made) == 1
