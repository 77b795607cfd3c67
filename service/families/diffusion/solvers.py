"""Solvers of the probability flow ODE dx/dsigma = (x - D(x; sigma)) / sigma, as generators that read like the papers.

A solver takes x at the first noise level and yields a `Query`; it is sent the clean image x0 = D(x; sigma) and goes on;
it returns x at the last level. Levels are strictly decreasing. Arithmetic is elementwise, in the type of x.
"""

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import numpy as np

from fivefold.diffusion import Solver
from model_store.manifest import DiffusionParams
from service.arrays import Array


@dataclass(frozen=True)
class Query:
    """Ask for D(x; sigma). `previewed` is False for the second look of a step that was previewed already."""

    x: Array
    sigma: float
    previewed: bool = True


Integration = Generator[Query, Array, Array]


def karras_sigmas(steps: int, params: DiffusionParams, sigma_max: float) -> list[float]:
    """`steps` noise levels from `sigma_max` down, and zero (Karras et al. 2022, arXiv:2206.00364, eq. 5)."""
    # A start near sigma_min keeps some way to go, so that levels always decrease.
    sigma_min = min(params.sigma_min, sigma_max / 2)
    ramp = np.linspace(sigma_max ** (1 / params.rho), sigma_min ** (1 / params.rho), steps)
    return [sigma_max, *(ramp[1:] ** params.rho).tolist(), 0.0]


def heun(x: Array, sigmas: Sequence[float]) -> Integration:
    """Second order, two evaluations a step but for the last (Karras et al. 2022, algorithm 1)."""
    for sigma, following in pairwise(sigmas):
        slope = (x - (yield Query(x, sigma))) / sigma
        euler = x + (following - sigma) * slope
        if following > 0:
            corrected = (euler - (yield Query(euler, following, previewed=False))) / following
            euler = x + (following - sigma) * (slope + corrected) / 2
        x = euler
    return x


def dpmpp_2m(x: Array, sigmas: Sequence[float]) -> Integration:
    """Second order, one evaluation a step (Lu et al. 2022, arXiv:2211.01095, algorithm 2, with alpha = 1).

    With lambda = -log sigma, r is the last step of lambda over this one. The first step, and one that ends at zero, are
    of first order.
    """
    last: tuple[float, Array] | None = None
    for sigma, following in pairwise(sigmas):
        x0 = yield Query(x, sigma)
        extrapolated = x0
        if last is not None and following > 0:
            r = math.log(last[0] / sigma) / math.log(sigma / following)
            extrapolated = x0 + (x0 - last[1]) / (2 * r)
        x = (following / sigma) * x + (1 - following / sigma) * extrapolated
        last = sigma, x0
    return x


def ddim(x: Array, sigmas: Sequence[float]) -> Integration:
    """First order, one evaluation a step (Song et al. 2021, arXiv:2010.02502, eq. 12; Euler's method in sigma)."""
    for sigma, following in pairwise(sigmas):
        x0 = yield Query(x, sigma)
        x = x0 + (following / sigma) * (x - x0)
    return x


SOLVERS: Mapping[Solver, Callable[[Array, Sequence[float]], Integration]] = {
    "heun": heun,
    "dpmpp_2m": dpmpp_2m,
    "ddim": ddim,
}


def solve(integration: Integration, denoise: Callable[[Query], Array]) -> Array:
    """Run a solver to its end with `denoise` for D."""
    query = next(integration)
    while True:
        try:
            query = integration.send(denoise(query))
        except StopIteration as end:
            return cast(Array, end.value)


def evaluations(solver: Solver, steps: int) -> int:
    """How often a solver asks in `steps` steps that end at zero."""
    return 2 * steps - 1 if solver == "heun" else steps
