"""Solvers run to their end, with a function for D or with a denoiser's graph; a stochastic solver."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from model_store.manifest import DiffusionParams
from service.arrays import Array, Arrays
from service.families.diffusion.schedule import Schedule, karras_sigmas, logarithms
from service.families.diffusion.solvers import Heun, Solver
from service.graph import Graph
from service.jobs import Floats

Denoise = Callable[[Array, Floats], Array]
"""D(x; sigma) of x [k, ...] and sigma [k]."""


def solve(solver: Solver, denoise: Denoise) -> Array:
    """x at the last level."""
    while not solver.ended:
        solver = ask(solver, denoise)
    return solver.x


def ask(solver: Solver, denoise: Denoise) -> Solver:
    """The solver after one evaluation."""
    return solver.advance(denoise(solver.query, solver.schedule.sigma(solver.level)))


@dataclass(frozen=True, eq=False)
class Ancestral(Solver):
    """Euler's method with fresh noise in every step (Song et al. 2021, arXiv:2011.13456, as k-diffusion has it)."""

    wants_noise = True

    def advance(self, x0: Array, noise: Array | None = None) -> Self:
        sigma, following = self.step_levels()
        up = following * np.sqrt(1 - (following / sigma) ** 2)
        down = np.sqrt(following**2 - up**2)
        x = x0 + self.column(down / sigma) * (self.x - x0) + self.column(up) * noise
        return replace(self, x=x, step=self.step + 1)


def replay_sample(graph: Graph, params: DiffusionParams, inputs: Arrays) -> Arrays:
    """The golden case "sample" (noise [n, C, H, W], label [n], steps) -> images in [-1, 1], by heun."""
    sigmas = karras_sigmas(int(inputs["steps"]), params, params.sigma_max)

    def denoise(x: Array, sigma: Floats) -> Array:
        levels = {"sigma": sigma.astype(np.float32), "log_sigma": logarithms(sigma).astype(np.float32)}
        return graph(x=x, label=inputs["label"], **levels)["denoised"].numpy()

    noise = inputs["noise"]
    images = solve(Heun(Schedule.of(sigmas, len(noise)), noise * np.float32(params.sigma_max)), denoise)
    return {"images": images.clip(-1, 1)}
