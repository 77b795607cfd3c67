"""Text over HTTP: streams, seeds, bad input, and what answers without a device."""

import asyncio
import io
import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from served import Service, serving

from fivefold import AsyncClient, Client, errors
from model_store.store import Model, Store
from service.families import transformer

GENERATE = "/v1/transformer/generate"


@pytest.fixture(scope="module")
def service(text_model: Model) -> Iterator[Service]:
    with serving(Store(text_model.folder.parents[1]), (transformer.FAMILY,)) as service:
        yield service


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[Client]:
    with Client(service.url, max_retries=0) as client:
        yield client


def test_the_same_item_asked_for_alone_is_the_same_item(client: Client) -> None:
    together = client.transformer_generate(prompt="The people", n=5, seed=3, max_tokens=9, temperature=1.4)
    for item in together.results:
        (alone,) = client.transformer_generate(
            prompt="The people", seed=item.seed, max_tokens=9, temperature=1.4
        ).results
        assert (alone.text, alone.log_probs_nats) == (item.text, item.log_probs_nats)
    assert together.meta.exactness == "bitwise"
    assert together.parameters["top_p"] == 1.0
    assert "prompt" not in together.parameters


def test_a_text_has_one_log_probability_whether_it_is_drawn_or_given(client: Client) -> None:
    (drawn,) = client.transformer_generate(prompt="No letters", seed=1, max_tokens=8).results
    (given,) = client.transformer_score(prompt="No letters", tokens=[drawn.tokens]).results
    assert given.log_probs_nats == drawn.log_probs_nats


def test_pieces_arrive_one_by_one_and_make_the_text(client: Client) -> None:
    with client.transformer_generate.stream(prompt="café", seed=2, n=2, max_tokens=10, stop=["q", "the"]) as stream:
        pieces = list(stream)
    assert stream.answer is not None
    for item in stream.answer.results:
        own = [piece for piece in pieces if piece.index == item.index]
        assert "".join(piece.text for piece in own) == item.text
        assert [piece.token for piece in own] == item.tokens
        assert own[-1].finish_reason == item.finish_reason


async def test_late_comers_and_leavers_change_nobodys_text(service: Service) -> None:
    async with AsyncClient(service.url) as client:

        async def text(place: int) -> str:
            answer = await client.transformer_generate(
                prompt="The people"[: 1 + place % 10], seed=place, max_tokens=1 + place % 15, top_k=40
            )
            return answer.results[0].text

        alone = [await text(place) for place in range(24)]
        assert await asyncio.gather(*map(text, range(24))) == alone


def test_scores_come_as_arrays_and_tables(client: Client, service: Service) -> None:
    texts = ["The people", "of the union"]
    wanted = [item.log_prob_nats for item in client.transformer_score(texts=texts).results]
    body = {"texts": texts}
    array = httpx.post(f"{service.url}/v1/transformer/score", json=body, headers={"accept": "application/x-npy"})
    assert np.load(io.BytesIO(array.content)) == pytest.approx(np.float32(wanted))
    table = httpx.post(f"{service.url}/v1/transformer/score", json=body, headers={"accept": "text/csv"})
    header, *lines = table.text.splitlines()
    place = header.split(",").index("log_prob_nats")
    assert [float(line.split(",")[place]) for line in lines] == wanted


def test_tokens_are_told_without_asking_the_device(client: Client, service: Service) -> None:
    ran = service.worker.steps.rows_run
    texts = ["The people of the union", "", "naïve 😀"]
    told = client.transformer_tokenize(texts=texts)
    back = client.transformer_detokenize(tokens=[item.tokens for item in told.results])
    assert [item.text for item in back.results] == texts
    assert told.meta.timing.compute_ms == back.meta.timing.compute_ms == 0
    assert len({told.meta.receipt, back.meta.receipt}) == 2
    assert service.worker.steps.rows_run == ran


def test_an_item_without_a_device_may_be_skipped_or_refuse_its_request(client: Client) -> None:
    skipped = client.transformer_detokenize(tokens=[[1], [999]], on_error="skip")
    assert [type(item).__name__ for item in skipped.items] == ["TransformerDetokenized", "FailedItem"]
    with pytest.raises(errors.InvalidInput, match="token id 999 given, the vocabulary has the ids 0 to 299"):
        client.transformer_detokenize(tokens=[[1], [999]])


BAD: list[tuple[dict[str, Any], str]] = [
    ({"prompt": ""}, "0 tokens given, 1 or more expected"),
    ({"prompt": "x" * 60}, "the context is 32: shorten the prompt or max_tokens"),
    ({"max_tokens": 31}, "tokens asked, the context is 32"),
    ({"prompt_tokens": [300], "prompt": None}, "token id 300 given, the vocabulary has the ids 0 to 299"),
    ({"temperature": -1}, "greater than or equal to 0"),
    ({"temperature": 2.5}, "less than or equal to 2"),
    ({"top_p": 0}, "greater than 0"),
    ({"top_p": 1.5}, "less than or equal to 1"),
    ({"stop": ["x"] * 1000}, "at most 16 items"),
    ({"max_tokens": 10**12}, "the context is 32"),
]


@pytest.mark.parametrize(("asked", "message"), BAD, ids=lambda value: str(value)[:40])
def test_bad_input_is_refused_before_the_queue(service: Service, asked: dict[str, Any], message: str) -> None:
    ran = service.worker.steps.rows_run
    answer = httpx.post(service.url + GENERATE, json={"prompt": "The people", "max_tokens": 4, **asked})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
    assert message in answer.text
    assert service.worker.steps.rows_run == ran


@pytest.mark.parametrize(
    "body",
    [b'{"prompt": "\\ud800"}', b'{"prompt": "\xff\xfe"}', b'{"prompt": "a", "stop": ["\\udc00"]}', b'{"prompt": "a'],
)
def test_what_is_no_unicode_is_refused(service: Service, body: bytes) -> None:
    answer = httpx.post(service.url + GENERATE, content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")


def test_events_name_their_row_and_place(service: Service) -> None:
    headers = {"accept": "text/event-stream"}
    body = {"prompt": "The", "max_tokens": 3, "seed": 1, "temperature": 0}
    events = httpx.post(service.url + GENERATE, json=body, headers=headers).text.strip().split("\n\n")
    names = [event.splitlines()[0].removeprefix("event: ") for event in events]
    assert names == ["chunk"] * 3 + ["item", "done"]
    assert [event.splitlines()[1] for event in events[:4]] == [f"id: 0.{place}" for place in range(4)]
    assert json.loads(events[0].splitlines()[2].removeprefix("data: "))["index"] == 0
