"""The SDK against the real service with the toy family: a sixth family needs call() and stream(), nothing more."""

import io
from collections.abc import Iterator
from typing import assert_type

import numpy as np
import pytest
from served import serving
from toy import COUNT, POISON, SCALE, ToyCountRequest, ToyScaled, ToyScaleRequest

from fivefold import AsyncClient, Client
from fivefold.errors import InvalidInput, NotAcceptable, RowFailed, UnknownModel
from fivefold.methods import Method
from fivefold.operation import NPY_TYPE, Answer, FailedItem
from model_store.store import Store

ROW = [0.0, 1.0, 2.0, 3.0]


class ToyClient(Client):
    """One line per operation."""

    toy_scale = Method(SCALE, ToyScaleRequest)


@pytest.fixture
def url(toy_store: Store) -> Iterator[str]:
    with serving(toy_store) as service:
        yield service.url


async def test_a_sixth_family_answers_both_clients_alike(url: str) -> None:
    request = ToyScaleRequest(rows=[ROW, [4.0] * 4])
    with Client(url) as client:
        blocking = client.call(SCALE, request)
    async with AsyncClient(url) as asynchronous:
        awaited = await asynchronous.call(SCALE, request)
    assert blocking.items == awaited.items
    assert blocking.meta.receipt == awaited.meta.receipt
    assert [item.row for item in blocking.results] == [[1.0, 3.0, 5.0, 7.0], [9.0] * 4]


def test_a_named_method_is_one_line(url: str) -> None:
    with ToyClient(url) as client:
        answer = client.toy_scale(rows=[ROW])
    assert_type(answer, Answer[ToyScaled])
    assert answer.results[0].row == [1.0, 3.0, 5.0, 7.0]


async def test_both_clients_see_every_step_and_the_same_answer(url: str) -> None:
    request = ToyCountRequest(n=2, steps=4, seed=5)
    with Client(url) as client, client.stream(COUNT, request) as stream:
        steps = [(chunk.index, chunk.step) for chunk in stream]
        whole = client.call(COUNT, request)
    async with AsyncClient(url) as asynchronous, asynchronous.stream(COUNT, request) as awaited:
        again = [(chunk.index, chunk.step) async for chunk in awaited]
    assert sorted(steps) == sorted(again) == [(index, step) for index in (0, 1) for step in (1, 2, 3, 4)]
    assert stream.answer.items == awaited.answer.items == whole.items


def test_a_row_that_fails_has_its_code_and_its_neighbour_its_result(url: str) -> None:
    with Client(url) as client:
        good, bad = client.call(SCALE, ToyScaleRequest(rows=[ROW, [POISON] * 4])).items
        assert isinstance(good, ToyScaled)
        assert isinstance(bad, FailedItem)
        assert bad.error.code == RowFailed.code
        with pytest.raises(RowFailed) as caught:
            client.call(SCALE, ToyScaleRequest(rows=[[POISON] * 4]))
    assert not caught.value.retryable


def test_what_the_service_refuses_is_raised_as_its_class_with_its_place_and_id(url: str) -> None:
    with Client(url) as client:
        with pytest.raises(InvalidInput, match="3 numbers given, 4 expected") as wrong:
            client.call(SCALE, ToyScaleRequest(rows=[ROW, ROW[:3]]))
        with pytest.raises(UnknownModel):
            client.call(SCALE, ToyScaleRequest(rows=[ROW], model="nobody"))
        with pytest.raises(NotAcceptable):
            list(client.stream(SCALE, ToyScaleRequest(rows=[ROW])))
    assert [place.place for place in wrong.value.invalid] == ["rows.1"]
    assert wrong.value.request_id


def test_exact_arrays_come_as_bytes_with_their_receipt(url: str) -> None:
    with Client(url) as client:
        answer = client.call(SCALE, ToyScaleRequest(rows=[ROW]))
        reply = client.raw(SCALE, ToyScaleRequest(rows=[ROW]), NPY_TYPE)
    array = np.load(io.BytesIO(reply.content))
    assert array.dtype == np.float32
    assert array.reshape(-1).tolist() == answer.results[0].row
    assert reply.headers["fivefold-receipt"] == answer.meta.receipt


def test_the_models_are_listed_and_found_by_name(url: str) -> None:
    with Client(url) as client:
        (card,) = client.models()
        assert client.model(card.name) == card
        with pytest.raises(UnknownModel):
            client.model("nobody?x=y")
