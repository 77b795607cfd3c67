"""The noise levels that trajectories pass, in float64: solvers cast what they compute from them, last."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from model_store.manifest import DiffusionParams
from service.jobs import Floats, Integers


@dataclass(frozen=True, eq=False)
class Schedule:
    """Strictly decreasing noise levels of k rows: `levels` [distinct, steps + 1], and `index` [k], each row's own."""

    levels: Floats
    index: Integers

    @classmethod
    def of(cls, levels: Sequence[float], rows: int) -> "Schedule":
        """The same levels for all rows."""
        return cls(np.array([levels]), np.zeros(rows, np.int64))

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, where: slice) -> "Schedule":
        return Schedule(self.levels, self.index[where])

    @property
    def steps(self) -> int:
        return len(self.levels[0]) - 1

    def ends_at_zero(self, step: int) -> bool:
        """Whether the step `step` is the one to zero; all rows have it at the same place."""
        return not self.levels[:, step + 1].any()

    def sigma(self, step: int) -> Floats:
        """[k], the level at which the step begins."""
        found: Floats = self.levels[self.index, step]
        return found

    def log_sigma(self, step: int) -> Floats:
        """[k], its logarithm."""
        return logarithms(self.levels[:, step])[self.index]

    def log_ratio(self, step: int) -> Floats:
        """[k], the logarithm of the level at which the step begins over the one at which it ends."""
        return logarithms(self.levels[:, step] / self.levels[:, step + 1])[self.index]


def karras_schedule(sigma_max: Floats, steps: int, params: DiffusionParams) -> Schedule:
    """The schedule of rows that begin at the levels `sigma_max` [k]."""
    distinct, index = np.unique(sigma_max, return_inverse=True)
    return Schedule(np.array([karras_sigmas(steps, params, sigma) for sigma in distinct.tolist()]), index)


def karras_sigmas(steps: int, params: DiffusionParams, sigma_max: float) -> list[float]:
    """`steps` noise levels from `sigma_max` down, and zero (Karras et al. 2022, arXiv:2206.00364, eq. 5)."""
    # A start near sigma_min keeps some way to go, so that levels always decrease.
    sigma_min = min(params.sigma_min, sigma_max / 2)
    ramp = np.linspace(sigma_max ** (1 / params.rho), sigma_min ** (1 / params.rho), steps)
    return [sigma_max, *(ramp[1:] ** params.rho).tolist(), 0.0]


def logarithms(values: Floats) -> Floats:
    """On the host and one by one: vectorised logarithms round differently in different batches."""
    return np.array([math.log(value) for value in values.tolist()])
