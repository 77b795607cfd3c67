"""Denoising: what the items of one sampling or enhancement request share."""

from dataclasses import dataclass
from typing import Literal

from fivefold.diffusion import Solver, Task
from service.families.diffusion.solvers import SOLVERS
from service.jobs import Parameters


@dataclass(frozen=True)
class Denoising(Parameters):
    """How trajectories run. `draws` is the number of them for each item, one after the other.

    `labels` are the conditions of one evaluation: the class, and where guidance mixes it in also "no class". `factor`
    belongs to super_resolve. An item of denoise has its noise level in pixel units in the column `sigma` [k]; one to be
    restored its column `measurement` [k, C, H, W]; `mask`, of inpaint, is a column [k, 1, H, W] or shared [1, H, W].
    """

    graphs = ("denoise",)
    task: Literal["sample"] | Task = "sample"
    solver: Solver = "dpmpp_2m"
    steps: int = 15
    labels: tuple[int, ...] = (0,)
    guidance: float = 1.0
    factor: int = 2
    draws: int = 1

    @property
    def measured(self) -> bool:
        """Whether images are held to what was measured of them."""
        return self.task in ("super_resolve", "inpaint")

    @property
    def step_evaluations(self) -> int:
        return len(self.labels)

    @property
    def work(self) -> int:
        """Evaluations of the denoiser that one item needs."""
        return SOLVERS[self.solver].evaluations(self.steps) * len(self.labels) * self.draws
