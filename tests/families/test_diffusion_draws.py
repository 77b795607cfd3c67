"""Several draws of one image: their spread is the posterior's, and the first is the one that is drawn alone."""

import numpy as np
import pytest
import tiny

from fivefold.diffusion import DiffusionEnhanceRequest
from fivefold.errors import InvalidInput
from fivefold.images import Image
from service import images
from service.arrays import fingerprint
from service.families.diffusion import FAMILY
from service.families.diffusion.parameters import Denoising
from service.families.pipeline import ItemStep, Results
from service.settings import Settings

_, ENHANCE = FAMILY.pipelines
MODEL = tiny.diffusion_model()
KNOWN = np.zeros((1, 8, 8), np.float32)
KNOWN[:, :4] = 1
DRAWS, STEPS = 48, 12


def request(**fields) -> DiffusionEnhanceRequest:
    mask = Image(images.encode_png(KNOWN))
    defaults = {"task": "inpaint", "rows": [[0.4] * 64], "masks": [mask], "class": "low", "steps": STEPS, "seed": 3}
    return DiffusionEnhanceRequest.model_validate(defaults | fields)


def events(*requests: DiffusionEnhanceRequest) -> tuple[list[list[tiny.ItemEvent]], list[int]]:
    graph = tiny.NumpyGraph(tiny.gaussian_denoiser)
    blocks = [ENHANCE.prepare(each, MODEL).block for each in requests]
    session = FAMILY.open_sessions(MODEL, {"denoise": graph}, Settings())[Denoising]
    return tiny.run(session, *blocks), graph.batches


def bits(event: tiny.ItemEvent, *names: str) -> str:
    """The fingerprint of these arrays of an event, or of all."""
    return fingerprint({name: event.arrays[name][None] for name in names or event.arrays}, 1)


def test_the_spread_of_the_draws_is_that_of_the_posterior() -> None:
    (of_row,), _ = events(request(num_samples=DRAWS))
    columns = {name: array[None] for name, array in of_row[-1].arrays.items()}
    fields = ENHANCE.render(request(num_samples=DRAWS), Results(np.zeros(1, np.int64), columns), MODEL)
    known = KNOWN[0] == 1
    assert fields["uncertainty"][0, 0, known].max() < 1e-3
    # The tiny images' pixels are N(-0.5, 0.5^2) on the scale of [-1, 1]: 0.25 of [0, 1], clipped there.
    assert fields["uncertainty"][0, 0, ~known].mean() == pytest.approx(2 * 0.21, abs=0.05)
    assert fields["mean"][0, 0, known] == pytest.approx(0.4, abs=1e-6)


def test_the_first_draw_is_the_one_that_is_drawn_alone() -> None:
    (one,), _ = events(request())
    (several,), batches = events(request(num_samples=3))
    assert bits(one[-1], "image") == bits(several[-1], "image")
    assert {"mean", "uncertainty"} & set(one[-1].arrays) == set()
    assert len(batches) == 3 * STEPS == ENHANCE.prepare(request(num_samples=3), MODEL).block.work[0]


def test_steps_are_counted_through_all_draws_and_streamed_once() -> None:
    (of_row,), _ = events(request(num_samples=3))
    steps = [ItemStep(0, event.step, event.arrays) for event in of_row[:-1]]
    previews = [ENHANCE.chunk(request(), step, {}, MODEL) for step in steps]
    assert [preview["step"] for preview in previews] == list(range(1, 3 * STEPS + 1))
    assert {preview["steps"] for preview in previews} == {3 * STEPS}
    assert [event.step for event in of_row] == list(range(len(of_row)))


def test_rows_of_many_draws_and_of_one_share_their_steps() -> None:
    (several, one), batches = events(request(num_samples=2), request(seed=9))
    assert batches == [2] * STEPS + [1] * STEPS
    for row, alone in ((several, events(request(num_samples=2))[0][0]), (one, events(request(seed=9))[0][0])):
        assert bits(row[-1]) == bits(alone[-1])


def test_denoising_draws_nothing() -> None:
    with pytest.raises(InvalidInput, match="num_samples 4 given, task denoise has 1"):
        ENHANCE.prepare(DiffusionEnhanceRequest(task="denoise", rows=[[0.4] * 64], num_samples=4), MODEL)
