"""Requests of the GAN: every refusal, and answers as the contract has them."""

from pathlib import Path

import linear_gan
import pytest
import rendering
import tiny
from pydantic import ValidationError

from fivefold.errors import InvalidInput
from fivefold.gan import GanInterpolateRequest, GanSampleRequest
from fivefold.images import Image
from model_store.store import Model
from service import images
from service.families.gan import FAMILY

PIPELINES = {pipeline.operation.name: pipeline for pipeline in FAMILY.pipelines}
PIXELS, LATENTS = [0.5] * 4, [[0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1]]


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return linear_gan.model(tmp_path)


def refusal(name: str, model: Model, **request) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        PIPELINES[name].prepare(PIPELINES[name].operation.request.model_validate(request), model)
    return caught.value


@pytest.mark.parametrize("name", PIPELINES)
def test_an_unknown_class_is_answered_with_the_classes(name: str, model: Model) -> None:
    error = refusal(name, model, **{"class": "boot"}, **({"rows": [PIXELS]} if name == "score" else {}))
    assert "'boot' is not one of the model's 3 classes: bag, coat, ankle-boot" in error.message
    assert error.invalid[0].place == "class"


@pytest.mark.parametrize("truncation", [-0.1, 1.5])
@pytest.mark.parametrize("request_", [GanSampleRequest, GanInterpolateRequest])
def test_truncation_lies_from_0_to_1(request_, truncation: float) -> None:
    with pytest.raises(ValidationError, match=r"truncation"):
        request_(truncation=truncation)


@pytest.mark.parametrize("frames", [0, 1, 65])
def test_there_are_2_to_64_frames(frames: int) -> None:
    with pytest.raises(ValidationError, match="frames"):
        GanInterpolateRequest(frames=frames)


@pytest.mark.parametrize("entry", [float("nan"), float("inf")])
def test_latents_are_finite(entry: float) -> None:
    with pytest.raises(ValidationError, match="finite"):
        GanSampleRequest(latents=[[entry] * 4])


@pytest.mark.parametrize(
    ("name", "request_", "words", "place"),
    [
        ("sample", {"latents": [LATENTS[0], [0.0] * 3]}, "3 numbers given, 4 expected: send 4 numbers", "latents.1"),
        ("sample", {"latents": LATENTS, "n": 3}, "n 3 given with 2 latents: leave n out", "n"),
        ("sample", {"latents": [[1e39] * 4]}, "3.40282e+38", "latents.0"),
        ("interpolate", {"latents": [LATENTS[0], [0.0] * 5]}, "latents.1: 5 numbers given, 4 expected", "latents.1"),
        ("interpolate", {"latents": LATENTS, "seeds": [1, 2]}, "2 seeds and 2 latents given", "seeds"),
        ("interpolate", {"latents": [LATENTS[0], [0.0] * 4]}, "more than 0 needed", "latents"),
        ("score", {"rows": [[0.5] * 5]}, "5 numbers given, 4 expected", "rows.0"),
        ("score", {"rows": [[2.0] * 4]}, "entry 0 is 2, 0 to 1 is possible", "rows.0"),
    ],
)
def test_a_refusal_states_both_numbers_and_names_the_place(
    name: str, request_: dict, words: str, place: str, model: Model
) -> None:
    error = refusal(name, model, **request_)
    assert words in error.message
    assert error.invalid[0].place == place


@pytest.mark.parametrize("ends", [1, 3])
def test_a_way_has_two_ends(ends: int) -> None:
    with pytest.raises(ValidationError, match="seeds"):
        GanInterpolateRequest(seeds=list(range(ends)))
    with pytest.raises(ValidationError, match="latents"):
        GanInterpolateRequest(latents=LATENTS[:1] * ends)


@pytest.mark.parametrize("pipeline", FAMILY.pipelines, ids=PIPELINES)
def test_a_model_of_another_family_is_refused(pipeline) -> None:
    with pytest.raises(InvalidInput, match="is a flow model, this operation needs one of family gan"):
        pipeline.prepare(pipeline.operation.request.model_validate(pipeline.operation.example), tiny.table_model())


def test_the_work_of_a_score_is_the_classes_judged(model: Model) -> None:
    for name, work in (("coat", 1), (None, 3)):
        request = PIPELINES["score"].operation.request(rows=[PIXELS], class_name=name)
        assert PIPELINES["score"].prepare(request, model).block.work.tolist() == [work]


@pytest.mark.parametrize(
    ("name", "request_"),
    [("sample", {}), ("interpolate", {"space": "w"}), ("score", {"rows": [PIXELS]}), ("sample", {"latents": LATENTS})],
)
def test_answers_have_the_fields_of_the_contract(name: str, request_: dict, model: Model) -> None:
    pipeline = PIPELINES[name]
    request = pipeline.operation.request.model_validate(request_)
    item = pipeline.operation.answer.model_fields["items"].annotation.__args__[0].__args__[0]
    for fields in rendering.answers(FAMILY, pipeline, request, model, linear_gan.graphs()):
        pictures = {"image": Image(images.encode_png(fields["image"]))} if "image" in fields else {}
        numbers = {"latents": fields["latents"].tolist()} if "latents" in fields else {}
        named = {field.alias or key for key, field in item.model_fields.items()} - {"index", "seed"}
        assert set(fields) == named
        item.model_validate({"index": 0, "seed": 0} | fields | pictures | numbers)
