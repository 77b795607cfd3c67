"""Requests of the autoencoder: every refusal, and answers as the contract has them."""

from pathlib import Path

import gaussian_vae
import numpy as np
import pytest
import rendering
import tiny
from pydantic import ValidationError

from fivefold.errors import InvalidInput
from fivefold.images import Image
from fivefold.vae import VaeAnomalyRequest, VaeElboRequest
from model_store.store import Model
from service import images
from service.families.vae import FAMILY
from service.families.vae.anomaly import heat_maps

PIPELINES = {pipeline.operation.name: pipeline for pipeline in FAMILY.pipelines}
ROW, PIXELS = [1.0, 2.0, 3.0], [0.5] * 16


@pytest.fixture
def table(tmp_path: Path) -> Model:
    return gaussian_vae.model(tmp_path, (3,))


@pytest.fixture
def image_model(tmp_path: Path) -> Model:
    return gaussian_vae.model(tmp_path, (1, 4, 4))


def refusal(name: str, model: Model, **request) -> str:
    with pytest.raises(InvalidInput) as caught:
        PIPELINES[name].prepare(PIPELINES[name].operation.request.model_validate(request), model)
    return caught.value.message


@pytest.mark.parametrize("alpha", [0, 1, -0.1, 1.5])
def test_alpha_lies_between_0_and_1(alpha: float) -> None:
    with pytest.raises(ValidationError, match="alpha"):
        VaeAnomalyRequest(rows=[ROW], alpha=alpha)


@pytest.mark.parametrize("samples", [0, 513, 1_000_000])
def test_there_are_1_to_512_draws(samples: int) -> None:
    with pytest.raises(ValidationError, match=r"less than or equal to 512|greater than or equal to 1"):
        VaeElboRequest(rows=[ROW], samples=samples)


def test_an_alpha_below_every_possible_p_value_is_refused_with_the_smallest(table: Model) -> None:
    message = refusal("anomaly", table, rows=[ROW], alpha=0.0005)
    assert "alpha 0.0005 given, 999 held-out scores allow 0.001 to 1: raise alpha" in message
    assert PIPELINES["anomaly"].prepare(VaeAnomalyRequest(rows=[ROW], alpha=0.001), table)


@pytest.mark.parametrize("name", ["anomaly", "elbo", "encode", "reconstruct"])
def test_a_row_of_another_width_is_refused_with_both(name: str, table: Model) -> None:
    assert "4 numbers given, 3 expected: send 3 numbers" in refusal(name, table, rows=[[0.0] * 4])
    assert "neither images nor rows given" in refusal(name, table)


def test_latents_of_another_width_are_refused_with_both(table: Model) -> None:
    assert "2 numbers given, 3 expected: send 3 numbers" in refusal("decode", table, latents=[[0.0] * 2])


@pytest.mark.parametrize("entry", [float("nan"), float("inf"), -float("inf")])
def test_latents_are_finite(entry: float) -> None:
    with pytest.raises(ValidationError, match="finite"):
        PIPELINES["decode"].operation.request.model_validate({"latents": [[0.0, entry, 0.0]]})


@pytest.mark.parametrize("pipeline", FAMILY.pipelines, ids=PIPELINES)
def test_a_model_of_another_family_is_refused(pipeline) -> None:
    with pytest.raises(InvalidInput, match="is a flow model, this operation needs one of family vae"):
        pipeline.prepare(pipeline.operation.request.model_validate(pipeline.operation.example), tiny.table_model())


def test_the_work_of_a_bound_is_its_draws(table: Model) -> None:
    prepared = PIPELINES["elbo"].prepare(VaeElboRequest(rows=[ROW] * 2, samples=40), table)
    assert prepared.block.work.tolist() == [40, 40]


@pytest.mark.parametrize(
    ("name", "fields", "names"),
    [
        ("anomaly", {}, {"score_nats", "p_value", "anomalous", "threshold_nats", "heat_map"}),
        (
            "anomaly",
            {"include_terms": True},
            {"score_nats", "p_value", "anomalous", "threshold_nats", "heat_map", "terms_nats"},
        ),
        ("reconstruct", {"output": "draw"}, {"image", "mean_absolute_error"}),
        ("encode", {}, {"mean", "std"}),
    ],
)
def test_answers_of_an_image_model_have_the_fields_of_the_contract(
    name: str, fields: dict, names: set[str], image_model: Model
) -> None:
    pipeline = PIPELINES[name]
    request = pipeline.operation.request.model_validate({"rows": [PIXELS], **fields})
    answered = rendering.answers(FAMILY, pipeline, request, image_model, gaussian_vae.graphs((1, 4, 4)))[0]
    assert set(answered) == names
    item = pipeline.operation.answer.model_fields["items"].annotation.__args__[0].__args__[0]
    pictures = {key: Image(images.encode_png(answered[key])) for key in ("image", "heat_map") if key in answered}
    numbers = {key: value.tolist() for key, value in answered.items() if isinstance(value, np.ndarray)}
    item.model_validate({"index": 0, "seed": 0} | answered | numbers | pictures)


def test_a_table_has_no_heat_map_and_terms_only_on_request(table: Model) -> None:
    pipeline = PIPELINES["anomaly"]
    for include_terms in (False, True):
        request = VaeAnomalyRequest(rows=[ROW], include_terms=include_terms)
        (answered,) = rendering.answers(FAMILY, pipeline, request, table, gaussian_vae.graphs((3,)))
        assert "heat_map" not in answered
        assert ("terms_nats" in answered) == include_terms


def test_the_heat_map_is_black_without_surprise_and_white_from_that_of_noise_on() -> None:
    surprise = np.array([[[[0.0, np.log(256) / 2], [np.log(256), 9.0]]]])
    np.testing.assert_allclose(heat_maps(surprise, 256), [[[[0, 0.5], [1, 1]]]])
