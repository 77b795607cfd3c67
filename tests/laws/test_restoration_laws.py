"""Restoration: pseudo-inverses, the null-space projection, and A x = y in the box, to the 8-bit picture."""

import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fivefold.diffusion import DiffusionEnhanceRequest
from fivefold.images import Image
from service import images
from service.families.diffusion import FAMILY
from service.families.diffusion.enhance import Enhance
from service.families.diffusion.operators import Average, Mask, Operator, into_box, project, residual
from service.families.diffusion.parameters import Denoising
from service.settings import Settings

SHAPE = (1, 8, 8)
HALF_LEVEL = 0.5 / 255
KNOWN = np.random.default_rng(1).uniform(size=SHAPE[1:]) > 0.5
OPERATORS = [Average(2), Average(4), Mask(KNOWN), Mask(np.zeros_like(KNOWN)), Mask(np.ones_like(KNOWN))]
pictures = arrays(np.float32, SHAPE, elements=st.floats(0, 1, width=32))
anything = arrays(np.float32, SHAPE, elements=st.floats(-8, 8, width=32))


@pytest.mark.parametrize("operator", OPERATORS)
@given(x=anything)
@settings(max_examples=20)
def test_a_pseudo_inverse_obeys_penrose(operator: Operator, x: np.ndarray) -> None:
    y = operator.apply(x)
    np.testing.assert_allclose(operator.apply(operator.pseudo_inverse(y)), y, atol=1e-6)  # A A+ A = A
    once = operator.pseudo_inverse(y)
    np.testing.assert_allclose(operator.pseudo_inverse(operator.apply(once)), once, atol=1e-6)  # A+ A A+ = A+


@pytest.mark.parametrize("operator", OPERATORS)
def test_a_plus_a_is_symmetric(operator: Operator) -> None:
    left, right = np.random.default_rng(0).normal(size=(2, *SHAPE))
    products = [np.sum(a * operator.pseudo_inverse(operator.apply(b))) for a, b in ((left, right), (right, left))]
    assert products[0] == pytest.approx(products[1])


@pytest.mark.parametrize("operator", OPERATORS)
@given(truth=pictures, x=anything)
@settings(max_examples=20)
def test_the_projection_keeps_what_was_measured_and_moves_once(operator: Operator, truth, x) -> None:
    y = operator.apply(truth)
    projected = project(operator, y, x)
    np.testing.assert_allclose(operator.apply(projected), y, atol=2e-6)
    np.testing.assert_allclose(project(operator, y, projected), projected, atol=4e-6)


@pytest.mark.parametrize("operator", [*OPERATORS, Mask(np.random.default_rng(2).uniform(size=(5, 1, 8, 8)) > 0.5)])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_block_is_projected_as_its_images_are(operator: Operator, channels: int) -> None:
    truth, x = np.random.default_rng(0).uniform(size=(2, 5, channels, 8, 8)).astype(np.float32)
    y = operator.apply(truth)
    projected = project(operator, y, x)
    for row in range(5):
        own = Mask(operator.known[row]) if isinstance(operator, Mask) and operator.known.ndim == 4 else operator
        np.testing.assert_array_equal(own.apply(truth[row]), y[row])
        np.testing.assert_array_equal(project(own, y[row], x[row]), projected[row])


@pytest.mark.parametrize("operator", OPERATORS)
@given(truth=pictures, x=anything)
@settings(max_examples=50)
def test_an_image_in_the_box_keeps_what_was_measured_also_as_a_picture(operator: Operator, truth, x) -> None:
    y = operator.apply(truth)
    found = into_box(operator, y, x)
    assert found.min() >= 0
    assert found.max() <= 1
    assert residual(operator, y, found) <= 1e-5
    assert residual(operator, y, np.rint(found * 255) / 255) <= HALF_LEVEL + 2e-5


@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("level", [0.0, 1 / 255, 254 / 255, 1.0])
def test_measurements_at_the_edge_of_the_box_are_kept(factor: int, level: float) -> None:
    operator, x = Average(factor), np.zeros(SHAPE, np.float32)
    x[:, ::factor, ::factor] = 1
    y = np.full((1, 8 // factor, 8 // factor), level, np.float32)
    assert residual(operator, y, into_box(operator, y, x)) <= 1e-5


def restore(request: dict) -> tuple[np.ndarray, float]:
    model = tiny.diffusion_model(SHAPE)
    session = FAMILY.open_sessions(model, {"denoise": tiny.NumpyGraph(tiny.gaussian_denoiser)}, Settings())[Denoising]
    asked = DiffusionEnhanceRequest.model_validate(request)
    done = tiny.run(session, Enhance().prepare(asked, model).block)[0][-1]
    return done.arrays["image"], float(done.arrays["consistency_error"])


@pytest.mark.parametrize("solver", ["heun", "dpmpp_2m", "ddim"])
@pytest.mark.parametrize("steps", [1, 7])
@pytest.mark.parametrize("factor", [2, 4])
def test_a_super_resolved_image_has_the_means_it_was_made_from(solver: str, steps: int, factor: int) -> None:
    y = np.random.default_rng(3).uniform(size=(8 // factor, 8 // factor))
    image, reported = restore(
        {"task": "super_resolve", "factor": factor, "rows": [y.ravel().tolist()], "solver": solver, "steps": steps}
    )
    error = np.abs(Average(factor).apply(np.rint(image * 255) / 255) - y).max()
    assert error <= reported + 1e-6 < 1 / 255


@pytest.mark.parametrize("solver", ["heun", "dpmpp_2m", "ddim"])
def test_an_inpainted_image_keeps_every_known_pixel(solver: str) -> None:
    y = np.random.default_rng(4).integers(0, 256, 64) / 255
    mask = images.encode_png(KNOWN[None].astype(np.float32))
    image, reported = restore(
        {"task": "inpaint", "rows": [y.tolist()], "masks": [Image(mask)], "solver": solver, "steps": 5}
    )
    assert (np.rint(image[0] * 255) == np.rint(y.reshape(8, 8) * 255))[KNOWN].all()
    assert reported < 1e-5
    assert (image[0] != y.reshape(8, 8))[~KNOWN].any()
