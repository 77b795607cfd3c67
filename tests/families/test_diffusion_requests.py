"""Sampling and enhancement: rows, their work, and every refusal."""

import numpy as np
import pytest
import tiny

from fivefold.diffusion import DiffusionEnhanceRequest, DiffusionPreview
from fivefold.errors import InvalidInput
from fivefold.images import Image
from service import images
from service.families.diffusion import FAMILY
from service.families.diffusion.guidance import label_of
from service.families.diffusion.parameters import Denoising
from service.families.pipeline import ItemStep, Prepared, Results
from service.settings import Settings

SAMPLE, ENHANCE = FAMILY.pipelines
MODEL = tiny.diffusion_model()
PARAMS = MODEL.manifest.params
PIXELS = [0.4] * 64


def mask(height: int = 8, width: int = 8, level: int = 255) -> Image:
    return Image(images.encode_png(np.full((1, height, width), level / 255, np.float32)))


def prepared(pipeline, **request) -> Prepared:
    return pipeline.prepare(pipeline.operation.request.model_validate(request), MODEL)


def answered(pipeline, request, model=MODEL) -> tuple[dict, dict]:
    """The columns of fields of a request of one item, and the fields of its first preview."""
    session = FAMILY.open_sessions(model, {"denoise": tiny.NumpyGraph(tiny.gaussian_denoiser)}, Settings())[Denoising]
    (events,) = tiny.run(session, pipeline.prepare(request, model).block)
    columns = {name: array[None] for name, array in events[-1].arrays.items()}
    preview = pipeline.chunk(request, ItemStep(0, events[0].step, events[0].arrays), {}, model)
    return pipeline.render(request, Results(np.zeros(1, np.int64), columns), model), preview


def refusal(pipeline, **request) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        prepared(pipeline, **request)
    return caught.value


@pytest.mark.parametrize(
    ("request_", "work"),
    [
        ({"steps": 6}, 6),
        ({"steps": 6, "solver": "heun"}, 11),
        ({"steps": 6, "solver": "heun", "class": "low"}, 11),
        ({"steps": 6, "solver": "heun", "class": "low", "guidance": 2}, 22),
        ({"steps": 6, "solver": "ddim", "guidance": 2}, 6),  # without a class there is nothing to mix
    ],
)
def test_work_is_the_number_of_evaluations(request_: dict, work: int) -> None:
    block = prepared(SAMPLE, **request_).block
    assert block.work.tolist() == [work]
    graph = tiny.NumpyGraph(tiny.gaussian_denoiser)
    tiny.run(FAMILY.open_sessions(MODEL, {"denoise": graph}, Settings())[Denoising], block)
    assert sum(graph.batches) == work


def test_no_class_is_the_label_after_the_last() -> None:
    assert [label_of(name, PARAMS) for name in ("low", "high", None)] == [0, 1, 2]


@pytest.mark.parametrize("pipeline", [SAMPLE, ENHANCE])
def test_an_unknown_class_is_answered_with_the_classes(pipeline) -> None:
    request = {} if pipeline is SAMPLE else {"task": "denoise", "rows": [PIXELS]}
    error = refusal(pipeline, **request, **{"class": "boot"})
    assert "'boot'" in error.message
    assert "low, high" in error.message
    assert error.invalid[0].place == "class"


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"task": "denoise", "factor": 2}, ["factor belongs to task super_resolve, not to denoise"]),
        ({"task": "denoise", "masks": [mask()]}, ["masks belongs to task inpaint, not to denoise"]),
        ({"task": "inpaint", "masks": [mask()], "sigma": 0.1}, ["sigma belongs to task denoise, not to inpaint"]),
        ({"task": "super_resolve", "mode": "mmse"}, ["mode belongs to task denoise, not to super_resolve"]),
        ({"task": "super_resolve"}, ["64 numbers given", "16 expected", "1 x 4 x 4"]),
        ({"task": "super_resolve", "rows": None, "images": [mask()]}, ["8 x 8 pixels given", "4 x 4 expected"]),
        ({"task": "inpaint"}, ["0 masks given for 1 images", "send 1 mask"]),
        ({"task": "inpaint", "masks": [mask()] * 3}, ["3 masks given for 1 images"]),
        ({"task": "inpaint", "masks": [mask(4, 8)]}, ["masks.0", "8 x 4 pixels given", "8 x 8 expected"]),
        ({"task": "denoise", "rows": [[2.0] * 64]}, ["entry 0 is 2, 0 to 1 is possible"]),
    ],
)
def test_a_task_refuses_what_does_not_belong_to_it(request_: dict, words: list[str]) -> None:
    message = refusal(ENHANCE, **{"rows": [PIXELS]} | request_).message
    assert all(word in message for word in words), message


def test_every_field_of_another_task_is_named() -> None:
    error = refusal(ENHANCE, task="inpaint", rows=[PIXELS], masks=[mask()], sigma=0.1, factor=4)
    assert [invalid.place for invalid in error.invalid] == ["sigma", "factor"]


def test_a_factor_that_does_not_divide_the_model_is_refused() -> None:
    request = DiffusionEnhanceRequest(task="super_resolve", factor=4, rows=[PIXELS])
    with pytest.raises(InvalidInput, match=r"factor 4 does not divide the model's 6 x 8 pixels"):
        ENHANCE.prepare(request, tiny.diffusion_model((1, 8, 6)))


def test_a_mask_of_one_image_is_refused_with_that_image() -> None:
    error = refusal(ENHANCE, task="inpaint", rows=[PIXELS] * 3, masks=[mask(), mask(4, 4), mask()])
    assert [invalid.place for invalid in error.invalid] == ["rows.1"]
    assert "masks.1: 4 x 4 pixels given, 8 x 8 expected" in error.message


def test_white_is_known_from_128_on() -> None:
    block = prepared(ENHANCE, task="inpaint", rows=[PIXELS] * 2, masks=[mask(level=127), mask(level=128)]).block
    assert block.columns["mask"].reshape(2, 64).all(1).tolist() == [False, True]
    assert block.columns["measurement"][0].max() == 0


def test_one_mask_serves_all_images() -> None:
    block = prepared(ENHANCE, task="inpaint", rows=[PIXELS] * 3, masks=[mask()]).block
    assert block.shared["mask"].shape == (1, 8, 8)
    assert block.shared["mask"].all()
    assert set(block.columns) == {"measurement"}


def test_images_and_masks_that_cannot_be_read_are_skipped_with_their_own_reasons() -> None:
    rows, masks = [PIXELS, PIXELS[:3], PIXELS, PIXELS], [mask(), mask(), mask(4, 4), mask(level=0)]
    skipped = prepared(ENHANCE, task="inpaint", rows=rows, masks=masks, on_error="skip")
    assert skipped.block.rows.tolist() == [0, 3]
    assert skipped.refusals[1].startswith("3 numbers given, 64 expected")
    assert skipped.refusals[2] == "masks.2: 4 x 4 pixels given, 8 x 8 expected: resize or crop the image"
    assert [known.all() for known in skipped.block.columns["mask"]] == [True, False]


@pytest.mark.parametrize("masks", [[mask(4, 4), mask(4, 4)], [mask(), mask(4, 4)]])
def test_where_no_item_is_left_the_request_is_refused(masks: list[Image]) -> None:
    error = refusal(ENHANCE, task="inpaint", rows=[PIXELS[:3], PIXELS], masks=masks, on_error="skip")
    assert [invalid.place for invalid in error.invalid] == ["rows.0", "rows.1"]


def test_a_given_noise_level_is_every_items_and_an_estimated_one_its_own() -> None:
    rows = [PIXELS, np.random.default_rng(0).uniform(size=64).tolist()]
    given = prepared(ENHANCE, task="denoise", rows=rows, sigma=0.25).block
    assert given.columns["sigma"].tolist() == [0.25, 0.25]
    estimated = prepared(ENHANCE, task="denoise", rows=rows).block.columns["sigma"]
    assert estimated.dtype == np.float64
    assert estimated[0] < estimated[1]


def test_parameters_name_what_the_request_asks_for() -> None:
    guided = prepared(SAMPLE, steps=4, solver="ddim", guidance=2, **{"class": "high"}).block.parameters
    assert guided == Denoising(solver="ddim", steps=4, labels=(1, 2), guidance=2.0)
    mean = prepared(ENHANCE, task="denoise", rows=[PIXELS], steps=9).block.parameters
    assert mean == Denoising(task="denoise", solver="ddim", steps=1, labels=(2,))
    draws = prepared(ENHANCE, task="super_resolve", factor=4, rows=[PIXELS[:4]], num_samples=3).block.parameters
    assert draws == Denoising(task="super_resolve", labels=(2,), factor=4, draws=3)


def test_the_noise_level_is_estimated_where_it_is_left_out_and_answered() -> None:
    model = tiny.diffusion_model((1, 28, 28))
    noisy = (0.5 + 0.1 * np.random.default_rng(0).normal(size=784)).clip(0, 1).tolist()
    request = DiffusionEnhanceRequest(task="denoise", rows=[noisy])
    fields, preview = answered(ENHANCE, request, model)
    assert fields["sigma"][0] == pytest.approx(0.1, rel=0.1)
    assert preview["sigma"] == pytest.approx(fields["sigma"][0])


@pytest.mark.parametrize(
    ("pipeline", "request_", "names"),
    [
        (SAMPLE, {"steps": 3}, {"image"}),
        (ENHANCE, {"task": "denoise", "rows": [PIXELS]}, {"image", "sigma"}),
        (ENHANCE, {"task": "super_resolve", "rows": [PIXELS[:16]]}, {"image", "consistency_error"}),
        (ENHANCE, {"task": "inpaint", "rows": [PIXELS], "masks": [mask()]}, {"image", "consistency_error"}),
    ],
)
def test_answers_and_previews_have_the_fields_of_the_contract(pipeline, request_: dict, names: set[str]) -> None:
    request = pipeline.operation.request.model_validate(request_)
    columns, preview = answered(pipeline, request)
    assert set(columns) == names
    fields = {name: column[0] for name, column in columns.items()}
    item = pipeline.operation.answer.model_fields["items"].annotation.__args__[0].__args__[0]
    item.model_validate({"index": 0, "seed": 0} | fields | {"image": Image(images.encode_png(fields["image"]))})
    DiffusionPreview.model_validate({"index": 0} | preview | {"image": Image(images.encode_png(preview["image"]))})
