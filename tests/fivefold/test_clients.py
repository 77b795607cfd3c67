"""Client and AsyncClient against a hostile server: the same scenarios, the same results, the same bytes on the wire."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from both import BODY, IMAGES, PREVIEW, Outcome, comparable, event, plain, stream
from hostile import JSON, HostileServer, Script, answer, head, problem

from fivefold import AsyncClient, Client, Image, Timeouts
from fivefold.cards import ModelCard
from fivefold.diffusion import DiffusionPreview
from fivefold.errors import (
    ConnectionFailed,
    FivefoldError,
    InternalError,
    InvalidInput,
    NotFound,
    NotReady,
    QueueFull,
    RowFailed,
    TimedOut,
    TransportError,
    UnknownModel,
)
from fivefold.flow import SAMPLE, FlowSampleRequest
from fivefold.operation import NPY_TYPE, FailedItem
from fivefold.streaming import AsyncStream, Stream

CARD = {
    "name": "m",
    "version": "1",
    "digest": "d",
    "family": "flow",
    "default": True,
    "aliases": [],
    "operations": ["/v1/flow/sample"],
    "device": "cpu",
    "scope": "here",
    "exactness": "bitwise",
    "licence": "Apache-2.0",
    "trained_at": "now",
    "metrics": {"nats": 1.5},
    "parameters": {},
}
GOOD = answer(200, BODY)


def sample(client: Any) -> Any:
    return client.flow_sample(n=2, seed=7)


def preview(client: Any) -> Any:
    return client.diffusion_sample.stream(class_name="boot", steps=2)


@dataclass(frozen=True)
class Scenario:
    """The answers of the server, what the client does, and what comes of it: a predicate, or a class of error."""

    name: str
    script: Sequence[Script]
    act: Callable[[Any], Any]
    expected: Callable[[Any], bool] | type[FivefoldError]
    attempts: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)


def is_good(result: Any) -> bool:
    good, failed = result.items
    return good.row == [1.5] and isinstance(failed, FailedItem) and failed.error.code == "row_failed"


def has_previews(result: Any) -> bool:
    chunks, final = result
    whole = [DiffusionPreview.model_validate(PREVIEW)] * 2
    return chunks == whole and final.results[0].image == Image(b"PNG")


SILENT = Timeouts(read_s=0.05)
SCENARIOS = (
    Scenario("a good answer", [GOOD], sample, is_good),
    Scenario("the good items alone", [GOOD], sample, lambda result: [one.seed for one in result.results] == [7]),
    Scenario("a full queue, then room", [problem(429, "queue_full"), GOOD], sample, is_good, 2),
    Scenario("two kinds of trouble, then good", [problem(503, "not_ready"), answer(502), GOOD], sample, is_good, 3),
    Scenario("never ready", [problem(503, "not_ready")] * 3, sample, NotReady, 3),
    Scenario("no retries wanted", [problem(503, "not_ready")], sample, NotReady, 1, {"max_retries": 0}),
    Scenario("an hour to wait", [answer(429, headers={"retry-after": "3600"})], sample, QueueFull),
    Scenario("wrong input", [problem(422, "invalid_input")], sample, InvalidInput),
    Scenario("our fault, then good", [problem(500, "internal"), GOOD], sample, is_good, 2),
    Scenario("our fault for ever", [answer(500, headers={"x-should-retry": "false"})], sample, InternalError),
    Scenario("a row that fails alone", [problem(500, "row_failed")], sample, RowFailed),
    Scenario("a proxy's pages", [answer(504, b"<html>"), answer(408, b"\xff"), GOOD], sample, is_good, 3),
    Scenario("a redirect is not followed", [answer(307, headers={"location": "/"})], sample, FivefoldError),
    Scenario("closed before an answer, then good", [Script(), GOOD], sample, is_good, 2),
    Scenario("cut in the head, then good", [Script(b"HTTP/1.1 200 OK\r\ncont"), GOOD], sample, is_good, 2),
    Scenario("cut in the body, then good", [Script(GOOD.data[:-9]), GOOD], sample, is_good, 2),
    Scenario("cut in the body of an error", [Script(answer(422, BODY).data[:-9]), GOOD], sample, is_good, 2),
    Scenario("not HTTP at all", [Script(b"SSH-2.0-x\r\n")] * 3, sample, ConnectionFailed, 3),
    Scenario(
        "not gzip at all", [answer(200, b"not gzip", {"content-encoding": "gzip"})] * 3, sample, ConnectionFailed, 3
    ),
    Scenario("silence", [Script(hold=True)], sample, TimedOut, 1, {"timeout": SILENT, "max_retries": 0}),
    Scenario("silence, then good", [Script(hold=True), GOOD], sample, is_good, 2, {"timeout": SILENT}),
    Scenario("an answer without end", [Script(head(200, JSON), drip=True)], sample, TimedOut, 1, {"timeout": 0.2}),
    Scenario("garbage that calls itself JSON", [answer(200, b"}{")], sample, TransportError),
    Scenario("another kind of JSON", [answer(200, {"items": [{}]})], sample, TransportError),
    Scenario("an empty answer", [answer(200)], sample, TransportError),
    Scenario("fields of a newer service", [answer(200, {**BODY, "news": {"x": [1]}})], sample, is_good),
    Scenario(
        "bytes",
        [answer(200, b"\x93NUMPY", {"Fivefold-Receipt": "r"})],
        lambda client: client.raw(SAMPLE, FlowSampleRequest(n=2), NPY_TYPE),
        lambda result: result.content == b"\x93NUMPY" and result.headers["fivefold-receipt"] == "r",
    ),
    Scenario(
        "models",
        [problem(503, "not_ready"), answer(200, {"models": [CARD, {**CARD, "news": 1}]})],
        lambda client: client.models(),
        lambda cards: cards == [ModelCard.model_validate(CARD)] * 2,
        2,
    ),
    Scenario(
        "one model",
        [answer(200, CARD)],
        lambda client: client.model("m@1"),
        lambda card: card.metrics == {"nats": 1.5},
    ),
    Scenario("no such model", [problem(404, "unknown_model")], lambda client: client.model("?"), UnknownModel),
    Scenario("ready", [answer(200, {})], lambda client: client.ready(), lambda ready: ready is True),
    Scenario("not ready", [problem(503, "not_ready")], lambda client: client.ready(), lambda ready: ready is False),
    Scenario("nobody there", [Script()], lambda client: client.ready(), lambda ready: ready is False),
    Scenario("not our service", [answer(404)], lambda client: client.ready(), NotFound),
    Scenario(
        "a stream",
        [
            stream(
                event("chunk", PREVIEW),
                event("item", {}),
                event("later", 1),
                event("chunk", PREVIEW),
                event("done", IMAGES),
            )
        ],
        preview,
        has_previews,
    ),
    Scenario(
        "a stream that stays open behind its answer",
        [stream(event("chunk", PREVIEW), event("chunk", PREVIEW), event("done", IMAGES), hold=True)],
        preview,
        has_previews,
    ),
    Scenario(
        "a stream that is refused at first",
        [problem(429, "queue_full"), stream(event("chunk", PREVIEW), event("chunk", PREVIEW), event("done", IMAGES))],
        preview,
        has_previews,
        2,
    ),
    Scenario("half a stream", [stream(event("chunk", PREVIEW))], preview, ConnectionFailed),
    Scenario("half an event", [stream(event("done", IMAGES)[:-9])], preview, ConnectionFailed),
    Scenario(
        "a stream that fails", [stream(event("error", {"code": "row_failed", "detail": "x"}))], preview, RowFailed
    ),
    Scenario("garbage in a stream", [stream(event("chunk", {"index": "x"}))], preview, TransportError),
    Scenario("JSON instead of a stream", [answer(200, IMAGES)], preview, ConnectionFailed),
    Scenario("a stream that falls silent", [stream(hold=True)], preview, TimedOut, 1, {"timeout": SILENT}),
)


def run_sync(server: HostileServer, scenario: Scenario) -> Outcome:
    server.play(scenario.script)
    pauses_s: list[float] = []
    with Client(server.url, sleep=pauses_s.append, **scenario.options) as client:
        try:
            result = scenario.act(client)
            if isinstance(result, Stream):
                result = (list(result), result.answer)
        except FivefoldError as error:
            result = error
    return Outcome(result, pauses_s, server.asked)


async def run_async(server: HostileServer, scenario: Scenario) -> Outcome:
    server.play(scenario.script)
    pauses_s: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses_s.append(seconds)

    async with AsyncClient(server.url, sleep=sleep, **scenario.options) as client:
        try:
            result = scenario.act(client)
            if isinstance(result, AsyncStream):
                result = ([chunk async for chunk in result], result.answer)
            elif isinstance(result, Awaitable):
                result = await result
        except FivefoldError as error:
            result = error
    return Outcome(result, pauses_s, server.asked)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=[scenario.name for scenario in SCENARIOS])
async def test_both_clients_do_the_same_and_the_right_thing(hostile: HostileServer, scenario: Scenario) -> None:
    blocking, awaited = run_sync(hostile, scenario), await run_async(hostile, scenario)
    assert comparable(blocking.result) == comparable(awaited.result)
    assert [plain(asked) for asked in blocking.asked] == [plain(asked) for asked in awaited.asked]
    for outcome in (blocking, awaited):
        if isinstance(scenario.expected, type):
            assert type(outcome.result) is scenario.expected
            assert outcome.result.request_id == outcome.asked[0].headers["x-request-id"]
        else:
            assert scenario.expected(outcome.result), outcome.result
        assert len(outcome.asked) == scenario.attempts
        assert len(outcome.pauses_s) == scenario.attempts - 1


def test_a_call_keeps_its_ids_over_its_attempts_and_the_next_call_has_others(hostile: HostileServer) -> None:
    hostile.play([answer(503), Script(), GOOD, GOOD])
    with Client(hostile.url, sleep=lambda _: None) as client:
        sample(client)
        sample(client)
    keys = [asked.headers["idempotency-key"] for asked in hostile.asked]
    ids = [asked.headers["x-request-id"] for asked in hostile.asked]
    assert keys[0] == keys[1] == keys[2] != keys[3]
    assert ids[0] == ids[1] == ids[2] != ids[3]


def test_the_client_waits_as_long_as_it_is_told(hostile: HostileServer) -> None:
    hostile.play([answer(429, headers={"retry-after": "2"}), answer(503, headers={"retry-after-ms": "1500"}), GOOD])
    pauses_s: list[float] = []
    with Client(hostile.url, sleep=pauses_s.append) as client:
        sample(client)
    assert 2 <= pauses_s[0] < 2.5
    assert 1.5 <= pauses_s[1] < 2.5


def test_the_request_says_only_what_was_said_under_its_names_on_the_wire(hostile: HostileServer) -> None:
    hostile.play([answer(200, IMAGES)])
    with Client(hostile.url) as client:
        client.diffusion_enhance(task="inpaint", images=[Image(b"PNG")], masks=[Image(b"X")], class_name="boot")
    asked = hostile.asked[0]
    assert asked.line == "POST /v1/diffusion/enhance HTTP/1.1"
    assert asked.headers["content-type"] == asked.headers["accept"] == "application/json"
    assert json.loads(asked.body) == {"task": "inpaint", "images": ["UE5H"], "masks": ["WA=="], "class": "boot"}


@pytest.mark.parametrize(
    "fields", [{"n": 0}, {"n": "x"}, {"m": 1}, {"temperature": float("nan")}, {"seeds": []}, {"seed": 2**53}]
)
async def test_input_that_the_service_would_refuse_is_not_even_sent(
    hostile: HostileServer, fields: dict[str, Any]
) -> None:
    hostile.play([])
    (place,) = fields
    with Client(hostile.url) as client, pytest.raises(InvalidInput, match=f"{place}: .* given: ") as blocking:
        client.flow_sample(**fields)
    async with AsyncClient(hostile.url) as asynchronous:
        with pytest.raises(InvalidInput) as awaited:
            await asynchronous.flow_sample(**fields)
    assert blocking.value.invalid == awaited.value.invalid
    assert blocking.value.invalid[0].place == place
    assert hostile.asked == []


def test_leaving_a_stream_early_closes_its_connection(hostile: HostileServer) -> None:
    hostile.play([stream(event("chunk", PREVIEW), hold=True)])
    with Client(hostile.url) as client, preview(client) as chunks:
        next(iter(chunks))
        chunks.close()
        assert hostile.gone.wait(5)


async def test_leaving_an_asynchronous_stream_early_closes_its_connection(hostile: HostileServer) -> None:
    hostile.play([stream(event("chunk", PREVIEW), hold=True)])
    async with AsyncClient(hostile.url) as client:
        async with preview(client) as chunks:
            await anext(aiter(chunks))
        assert hostile.gone.wait(5)


def test_a_stream_has_no_answer_before_its_end_and_sends_nothing_before_it_is_read(hostile: HostileServer) -> None:
    hostile.play([])
    with Client(hostile.url) as client, preview(client) as chunks, pytest.raises(RuntimeError, match="to the end"):
        assert chunks.answer
    assert hostile.asked == []


@pytest.mark.parametrize("url", ["localhost:8000", "127.0.0.1", "ftp://host"])
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_an_address_without_a_scheme_is_refused_with_an_example(kind: type, url: str) -> None:
    with pytest.raises(ValueError, match=r"write it as http://127\.0\.0\.1:8000"):
        kind(url)


def test_a_model_name_stays_one_part_of_the_path(hostile: HostileServer) -> None:
    hostile.play([answer(200, CARD)])
    with Client(hostile.url) as client:
        client.model("a/../b?c#d@1")
    assert hostile.asked[0].line == "GET /v1/models/a%2F..%2Fb%3Fc%23d@1 HTTP/1.1"


def test_a_path_in_front_of_the_service_is_kept(hostile: HostileServer) -> None:
    hostile.play([GOOD])
    with Client(hostile.url + "/models/") as client:
        sample(client)
    assert hostile.asked[0].line == "POST /models/v1/flow/sample HTTP/1.1"


def test_a_refused_connection_names_the_address_and_the_call(hostile: HostileServer) -> None:
    message = r"http://127\.0\.0\.1:1/v1/flow/sample: .*Is the service running"
    with (
        Client("http://127.0.0.1:1", max_retries=0) as client,
        pytest.raises(ConnectionFailed, match=message) as caught,
    ):
        sample(client)
    assert caught.value.request_id
