"""Solvers of the probability flow ODE dx/dsigma = (x - D(x; sigma)) / sigma, as values that advance.

A solver says where it wants the clean image x0 = D(query; sigma), is advanced with it, and is at its end after the last
level. Arithmetic is elementwise, in the type of x.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self

import numpy as np

from fivefold.diffusion import Solver as SolverName
from service.arrays import Array
from service.families.diffusion.schedule import Schedule
from service.jobs import Floats


@dataclass(frozen=True, eq=False)
class Solver(ABC):
    """k rows at the same step: x [k, ...] at the level where the step begins. Immutable: `advance` gives another one.

    What a subclass keeps between evaluations are fields of its own: arrays of the shape of x, or None. A stochastic one
    sets `wants_noise`: `advance` is then given standard normal noise of the shape of x.
    """

    wants_noise: ClassVar[bool] = False
    schedule: Schedule
    x: Array
    step: int = 0

    @classmethod
    def evaluations(cls, steps: int) -> int:
        """How often D is asked in `steps` steps that end at zero."""
        return steps

    @classmethod
    def images(cls) -> int:
        """How many arrays of the shape of x are held at most."""
        return sum(field.name not in ("schedule", "step") for field in fields(cls))

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, where: slice) -> Self:
        """These rows alone; the arrays are views."""
        state = {field.name: getattr(self, field.name) for field in fields(self)}
        cut: dict[str, Any] = {
            name: value[where] for name, value in state.items() if isinstance(value, np.ndarray | Schedule)
        }
        return replace(self, **cut)

    @property
    def query(self) -> Array:
        """[k, ...], where D is wanted."""
        return self.x

    @property
    def level(self) -> int:
        """The place in the schedule of the level at which D is wanted."""
        return self.step

    @property
    def ended(self) -> bool:
        """Whether x is at the last level."""
        return self.step == self.schedule.steps

    @abstractmethod
    def advance(self, x0: Array, noise: Array | None = None) -> Self:
        """Take D(query; sigma) [k, ...]."""

    def column(self, values: Floats) -> Array:
        """One coefficient for each row [k], in the type and the dimensions of x."""
        return values.astype(self.x.dtype).reshape(-1, *[1] * (self.x.ndim - 1))

    def step_levels(self) -> tuple[Floats, Floats]:
        """The levels [k] between which the step goes."""
        return self.schedule.sigma(self.step), self.schedule.sigma(self.step + 1)


@dataclass(frozen=True, eq=False)
class Heun(Solver):
    """Second order, two evaluations a step but for the last (Karras et al. 2022, arXiv:2206.00364, algorithm 1).

    Between the two, `slope` is that at x and `euler` is Euler's point, at the next level.
    """

    slope: Array | None = None
    euler: Array | None = None

    @classmethod
    def evaluations(cls, steps: int) -> int:
        return 2 * steps - 1

    @property
    def query(self) -> Array:
        return self.x if self.euler is None else self.euler

    @property
    def level(self) -> int:
        return self.step if self.euler is None else self.step + 1

    def advance(self, x0: Array, noise: Array | None = None) -> Self:
        sigma, following = self.step_levels()
        distance = self.column(following - sigma)
        if self.slope is None or self.euler is None:
            slope = (self.x - x0) / self.column(sigma)
            euler = self.x + distance * slope
            if not self.schedule.ends_at_zero(self.step):
                return replace(self, slope=slope, euler=euler)
            return replace(self, x=euler, step=self.step + 1)
        corrected = (self.euler - x0) / self.column(following)
        x = self.x + distance * (self.slope + corrected) / 2
        return replace(self, x=x, step=self.step + 1, slope=None, euler=None)


@dataclass(frozen=True, eq=False)
class Dpmpp2M(Solver):
    """Second order, one evaluation a step (Lu et al. 2022, arXiv:2211.01095, algorithm 2, with alpha = 1).

    With lambda = -log sigma, r is the last step of lambda over this one. The first step, and one that ends at zero, are
    of first order. `last` is the x0 of the step before.
    """

    last: Array | None = None

    def advance(self, x0: Array, noise: Array | None = None) -> Self:
        sigma, following = self.step_levels()
        ratio, extrapolated = following / sigma, x0
        if self.last is not None and not self.schedule.ends_at_zero(self.step):
            r = self.schedule.log_ratio(self.step - 1) / self.schedule.log_ratio(self.step)
            extrapolated = x0 + (x0 - self.last) / self.column(2 * r)
        x = self.column(ratio) * self.x + self.column(1 - ratio) * extrapolated
        return replace(self, x=x, step=self.step + 1, last=x0)


@dataclass(frozen=True, eq=False)
class Ddim(Solver):
    """First order, one evaluation a step (Song et al. 2021, arXiv:2010.02502, eq. 12; Euler's method in sigma)."""

    def advance(self, x0: Array, noise: Array | None = None) -> Self:
        sigma, following = self.step_levels()
        return replace(self, x=x0 + self.column(following / sigma) * (self.x - x0), step=self.step + 1)


SOLVERS: Mapping[SolverName, type[Solver]] = {"heun": Heun, "dpmpp_2m": Dpmpp2M, "ddim": Ddim}
