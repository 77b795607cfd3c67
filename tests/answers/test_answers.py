"""The service answers the recorded requests as it did when they were recorded, to the last bit."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from machines import machines

from tests.answers import record
from tests.answers.requests import MODELS, requests, requests_between_machines
from tests.answers.runner import differences, records_of, scope_of
from tests.answers.services import ROOT, serving
from tests.answers.wire import HttpRequest


@pytest.fixture(scope="module")
def in_one_process() -> Iterator[str]:
    with serving(ROOT) as url:
        yield url


@pytest.fixture(scope="module")
def between_machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("queue")
    with machines(folder, replicas=1, workers=1) as found:
        yield found.urls[0]


def assert_as_recorded(url: str, model: str, asked: Sequence[HttpRequest]) -> None:
    recorded = record.read(model)
    if (scope := scope_of(url)) != recorded.scope:
        pytest.skip(f"recorded on {recorded.scope}, this service runs on {scope}: use python -m tests.answers compare")
    lines = differences(recorded.answers, records_of(url, [request for request in asked if request.model == model]))
    assert not lines, "\n".join(lines[:20])


@pytest.mark.parametrize("model", MODELS)
def test_answers_are_as_recorded(in_one_process: str, model: str) -> None:
    assert_as_recorded(in_one_process, model, requests())


@pytest.mark.parametrize("model", MODELS)
def test_answers_between_machines_are_as_recorded(between_machines: str, model: str) -> None:
    assert_as_recorded(between_machines, model, requests_between_machines())


def test_a_difference_names_the_request_and_the_field() -> None:
    first, second = ({"a/b": {"status": 200, "items": [{"seed": seed, "index": 0}]}} for seed in (3, 4))
    assert differences(first, first) == []
    assert differences(first, second) == ["a/b: items.0.seed is 4, 3 expected"]
    assert differences({}, first) == ["a/b: not recorded"]


def test_every_recorded_request_is_still_asked() -> None:
    recorded = {name for model in MODELS for name in record.read(model).answers}
    assert recorded == {request.name for request in requests()}
