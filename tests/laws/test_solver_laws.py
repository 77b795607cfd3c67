"""Solvers: orders of convergence, exact answers, cuts that change no bit, and diffusers as an oracle."""

import math
from collections.abc import Callable

import diffusers
import numpy as np
import pytest
import torch
from solving import Ancestral, ask, solve

from model_store.manifest import DiffusionParams
from service.families.diffusion.schedule import Schedule, karras_schedule, karras_sigmas
from service.families.diffusion.solvers import SOLVERS, Solver

PARAMS = DiffusionParams(
    image_shape=(1, 4, 4), classes=("any",), sigma_data=0.5, sigma_min=0.002, sigma_max=80.0, rho=7.0
)
SPREAD = 0.5


def gaussian(x: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """E[x0 | x] for x0 ~ N(0, SPREAD^2); x [k, n]."""
    return x * SPREAD**2 / (SPREAD**2 + sigma[:, None] ** 2)


def exact(x: np.ndarray, sigma: float, following: float) -> np.ndarray:
    """The flow of dx/dsigma = (x - D) / sigma for that D."""
    return x * math.sqrt((SPREAD**2 + following**2) / (SPREAD**2 + sigma**2))


def curved(x: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """A denoiser that is not linear in x: two points at -1 and 1."""
    return np.tanh(x / (sigma[:, None] ** 2 + 0.1).astype(x.dtype))


def started(solver: str, x: np.ndarray, sigmas: list[float]) -> Solver:
    """All rows of x at the same levels."""
    return SOLVERS[solver](Schedule.of(sigmas, len(x)), x)


def mixed(solver: str, steps: int) -> Solver:
    """Five rows in single precision that begin at four levels."""
    sigma_max = np.array([80.0, 0.3, 80.0, 0.004, 1.7])
    x = np.random.default_rng(0).normal(size=(5, 7)) * sigma_max[:, None]
    return SOLVERS[solver](karras_schedule(sigma_max, steps, PARAMS), x.astype(np.float32))


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("steps", [1, 2, 3, 6])
def test_a_solver_that_is_cut_at_any_evaluation_goes_the_way_of_the_whole(solver: str, steps: int) -> None:
    whole = solve(mixed(solver, steps), curved)
    for before in range(SOLVERS[solver].evaluations(steps)):
        going = mixed(solver, steps)
        for _ in range(before):
            going = ask(going, curved)
        halves = [solve(going[0:2], curved), solve(going[2:5], curved)]
        np.testing.assert_array_equal(np.concatenate(halves), whole)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_rows_of_different_levels_go_as_they_go_alone(solver: str, steps: int) -> None:
    together = mixed(solver, steps)
    alone = [solve(together[row : row + 1], curved) for row in range(len(together))]
    np.testing.assert_array_equal(solve(together, curved), np.concatenate(alone))


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_solver_holds_no_more_arrays_than_it_says(solver: str) -> None:
    going, most = mixed(solver, 4), 0
    while not going.ended:
        most = max(most, sum(isinstance(value, np.ndarray) for value in vars(going).values()))
        going = ask(going, curved)
    assert most == SOLVERS[solver].images()


@pytest.mark.parametrize(("solver", "order"), [("heun", 2), ("dpmpp_2m", 2), ("ddim", 1)])
def test_the_error_falls_with_the_order_of_the_solver(solver: str, order: int) -> None:
    x = np.array([[3.0, -8.0]])
    errors = []
    for steps in (100, 200, 400):
        sigmas = karras_sigmas(steps + 1, PARAMS, 10.0)[:-1]  # without the last step, to zero, which is of first order
        found = solve(started(solver, x, sigmas), gaussian)
        errors.append(np.abs(found - exact(x, sigmas[0], sigmas[-1])).max())
    slopes = -np.diff(np.log2(errors))
    np.testing.assert_allclose(slopes, order, atol=0.1)


@pytest.mark.parametrize("solver", SOLVERS)
def test_many_steps_end_at_the_exact_image(solver: str) -> None:
    x = np.array([[40.0, -100.0]])
    found = solve(started(solver, x, karras_sigmas(1000, PARAMS, 80.0)), gaussian)
    np.testing.assert_allclose(found, exact(x, 80.0, 0.0), rtol=0.02)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("steps", [1, 2, 9])
def test_a_solver_asks_as_often_as_it_says_and_begins_every_step_once(solver: str, steps: int) -> None:
    sigmas = karras_sigmas(steps, PARAMS, 80.0)
    going, asked, begun = started(solver, np.ones((1, 3)), sigmas), 0, []
    while not going.ended:
        if going.level == going.step:
            begun.append(sigmas[going.level])
        going, asked = ask(going, curved), asked + 1
    assert asked == SOLVERS[solver].evaluations(steps)
    assert begun == sigmas[:-1]


@pytest.mark.parametrize("solver", SOLVERS)
def test_one_step_is_the_posterior_mean(solver: str) -> None:
    x = np.array([[0.3, -0.2]])
    found = solve(started(solver, x, karras_sigmas(1, PARAMS, 0.5)), gaussian)
    np.testing.assert_allclose(found, gaussian(x, np.array([0.5])), rtol=1e-12)


@pytest.mark.parametrize("solver", SOLVERS)
def test_single_precision_stays_single(solver: str) -> None:
    def denoise(x: np.ndarray, sigma: np.ndarray) -> np.ndarray:
        assert x.dtype == np.float32
        return curved(x, sigma)

    x = np.ones((2, 3), np.float32)
    assert solve(started(solver, x, karras_sigmas(5, PARAMS, 80.0)), denoise).dtype == np.float32


def test_a_stochastic_solver_keeps_the_distribution() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(1, 20_000)) * math.sqrt(80.0**2 + SPREAD**2)
    going = Ancestral(Schedule.of(karras_sigmas(200, PARAMS, 80.0), 1), x)
    while not going.ended:
        going = going.advance(gaussian(going.query, going.schedule.sigma(going.level)), random.normal(size=x.shape))
    assert going.x.std() == pytest.approx(SPREAD, rel=0.03)


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


@pytest.mark.parametrize("steps", [1, 2, 15])
def test_rows_have_the_levels_that_they_have_alone(steps: int) -> None:
    sigma_max = [0.5, 80.0, 0.002, 0.5]
    schedule = karras_schedule(np.array(sigma_max), steps, PARAMS)
    expected = np.array([karras_sigmas(steps, PARAMS, sigma) for sigma in sigma_max])
    for step in range(steps):
        np.testing.assert_array_equal(schedule.sigma(step), expected[:, step])
        logs = [math.log(sigma) for sigma in expected[:, step].tolist()]
        np.testing.assert_array_equal(schedule.log_sigma(step), logs)
        assert schedule.ends_at_zero(step) == (step == steps - 1)


@pytest.mark.parametrize(
    ("solver", "scheduler"),
    [("dpmpp_2m", diffusers.EDMDPMSolverMultistepScheduler), ("ddim", diffusers.EDMEulerScheduler)],
)
def test_a_solver_takes_the_way_of_its_scheduler_in_diffusers(solver: str, scheduler: Callable) -> None:
    oracle = scheduler(sigma_min=PARAMS.sigma_min, sigma_max=PARAMS.sigma_max, sigma_data=PARAMS.sigma_data)
    oracle.set_timesteps(20)
    sample = start = torch.linspace(-2, 2, 16, dtype=torch.float64).reshape(1, 16) * PARAMS.sigma_max
    for timestep, sigma in zip(oracle.timesteps, oracle.sigmas.tolist(), strict=False):
        oracle.scale_model_input(sample, timestep)
        denoised = torch.from_numpy(curved(sample.numpy(), np.array([sigma])))
        skip = PARAMS.sigma_data**2 / (sigma**2 + PARAMS.sigma_data**2)
        out = sigma * PARAMS.sigma_data / math.sqrt(sigma**2 + PARAMS.sigma_data**2)
        sample = oracle.step((denoised - skip * sample) / out, timestep, sample).prev_sample.double()
    np.testing.assert_allclose(karras_sigmas(20, PARAMS, 80.0), oracle.sigmas, rtol=1e-5)
    found = solve(started(solver, start.numpy(), karras_sigmas(20, PARAMS, 80.0)), curved)
    np.testing.assert_allclose(found, sample, atol=1e-4)
