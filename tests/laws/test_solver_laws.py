"""Solvers: order of convergence, the exact answer where it is known, and diffusers as an oracle."""

import math
from collections.abc import Callable

import diffusers
import numpy as np
import pytest
import torch

from model_store.manifest import DiffusionParams
from service.families.diffusion.solvers import SOLVERS, Query, evaluations, karras_sigmas, solve

PARAMS = DiffusionParams(
    image_shape=(1, 4, 4), classes=("any",), sigma_data=0.5, sigma_min=0.002, sigma_max=80.0, rho=7.0
)
SPREAD = 0.5


def gaussian(query: Query) -> np.ndarray:
    """E[x0 | x] for x0 ~ N(0, SPREAD^2)."""
    return query.x * SPREAD**2 / (SPREAD**2 + query.sigma**2)


def exact(x: np.ndarray, sigma: float, following: float) -> np.ndarray:
    """The flow of dx/dsigma = (x - D) / sigma for that D."""
    return x * math.sqrt((SPREAD**2 + following**2) / (SPREAD**2 + sigma**2))


def curved(query: Query) -> np.ndarray:
    """A denoiser that is not linear in x: two points at -1 and 1."""
    return np.tanh(query.x / (query.sigma**2 + 0.1))


@pytest.mark.parametrize(("solver", "order"), [("heun", 2), ("dpmpp_2m", 2), ("ddim", 1)])
def test_the_error_falls_with_the_order_of_the_solver(solver: str, order: int) -> None:
    x = np.array([3.0, -8.0])
    errors = []
    for steps in (100, 200, 400):
        sigmas = karras_sigmas(steps + 1, PARAMS, 10.0)[:-1]  # without the last step, to zero, which is of first order
        found = solve(SOLVERS[solver](x, sigmas), gaussian)
        errors.append(np.abs(found - exact(x, sigmas[0], sigmas[-1])).max())
    slopes = -np.diff(np.log2(errors))
    np.testing.assert_allclose(slopes, order, atol=0.1)


@pytest.mark.parametrize("solver", SOLVERS)
def test_many_steps_end_at_the_exact_image(solver: str) -> None:
    x = np.array([40.0, -100.0])
    found = solve(SOLVERS[solver](x, karras_sigmas(1000, PARAMS, 80.0)), gaussian)
    np.testing.assert_allclose(found, exact(x, 80.0, 0.0), rtol=0.02)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("steps", [1, 2, 9])
def test_a_solver_asks_as_often_as_it_says_and_shows_every_step_once(solver: str, steps: int) -> None:
    asked: list[Query] = []

    def denoise(query: Query) -> np.ndarray:
        asked.append(query)
        return curved(query)

    solve(SOLVERS[solver](np.ones(3), karras_sigmas(steps, PARAMS, 80.0)), denoise)
    assert len(asked) == evaluations(solver, steps)
    assert [query.sigma for query in asked if query.previewed] == karras_sigmas(steps, PARAMS, 80.0)[:-1]


@pytest.mark.parametrize("solver", SOLVERS)
def test_one_step_is_the_posterior_mean(solver: str) -> None:
    x = np.array([0.3, -0.2])
    found = solve(SOLVERS[solver](x, karras_sigmas(1, PARAMS, 0.5)), gaussian)
    np.testing.assert_allclose(found, gaussian(Query(x, 0.5)), rtol=1e-12)


@pytest.mark.parametrize("solver", SOLVERS)
def test_single_precision_stays_single(solver: str) -> None:
    def denoise(query: Query) -> np.ndarray:
        assert query.x.dtype == np.float32
        return curved(query)

    assert solve(SOLVERS[solver](np.ones(3, np.float32), karras_sigmas(5, PARAMS, 80.0)), denoise).dtype == np.float32


@pytest.mark.parametrize("sigma_max", [80.0, 0.5, 0.002, 0.0005])
@pytest.mark.parametrize("steps", [1, 2, 15, 1000])
def test_the_schedule_falls_from_the_largest_level_to_zero(steps: int, sigma_max: float) -> None:
    sigmas = karras_sigmas(steps, PARAMS, sigma_max)
    assert len(sigmas) == steps + 1
    assert sigmas[0] == sigma_max
    assert sigmas[-1] == 0
    assert (np.diff(sigmas) < 0).all()
    if steps > 1 and sigma_max > 0.004:
        assert sigmas[-2] == pytest.approx(0.002)


@pytest.mark.parametrize(
    ("solver", "scheduler"),
    [("dpmpp_2m", diffusers.EDMDPMSolverMultistepScheduler), ("ddim", diffusers.EDMEulerScheduler)],
)
def test_a_solver_takes_the_way_of_its_scheduler_in_diffusers(solver: str, scheduler: Callable) -> None:
    oracle = scheduler(sigma_min=PARAMS.sigma_min, sigma_max=PARAMS.sigma_max, sigma_data=PARAMS.sigma_data)
    oracle.set_timesteps(20)
    sample = start = torch.linspace(-2, 2, 16, dtype=torch.float64).reshape(1, 1, 4, 4) * PARAMS.sigma_max
    for timestep, sigma in zip(oracle.timesteps, oracle.sigmas.tolist(), strict=False):
        oracle.scale_model_input(sample, timestep)
        denoised = torch.from_numpy(curved(Query(sample.numpy(), sigma)))
        skip = PARAMS.sigma_data**2 / (sigma**2 + PARAMS.sigma_data**2)
        out = sigma * PARAMS.sigma_data / math.sqrt(sigma**2 + PARAMS.sigma_data**2)
        sample = oracle.step((denoised - skip * sample) / out, timestep, sample).prev_sample.double()
    np.testing.assert_allclose(karras_sigmas(20, PARAMS, 80.0), oracle.sigmas, rtol=1e-5)
    found = solve(SOLVERS[solver](start.numpy(), karras_sigmas(20, PARAMS, 80.0)), curved)
    np.testing.assert_allclose(found, sample, atol=1e-4)
