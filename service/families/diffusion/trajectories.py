"""Rows on their way from noise to their answers: a solver, what its clean images must agree with, and their events."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np

from fivefold.errors import RowNotFinite
from model_store.manifest import DiffusionParams
from service import rng
from service.arrays import Array, Arrays
from service.families.diffusion.guidance import guide
from service.families.diffusion.parameters import Denoising
from service.families.diffusion.posterior_draws import summarise
from service.families.diffusion.restoration import (
    hold_to_measurement,
    restored_columns,
    to_model_scale,
    to_pixels,
)
from service.families.diffusion.schedule import karras_schedule
from service.families.diffusion.solvers import SOLVERS, Solver
from service.families.session import dense, parameters_of
from service.jobs import Block, Events, Failure, failed

START_STREAM, STEP_STREAM = 0, 1


@dataclass(frozen=True, eq=False)
class Trajectories:
    """Consecutive rows of a block, all at the same step of the same draw. `draws` are the results of those before."""

    block: Block
    params: DiffusionParams
    solver: Solver
    draws: tuple[Arrays, ...] = ()

    @classmethod
    def start(cls, block: Block, params: DiffusionParams, draws: tuple[Arrays, ...] = ()) -> Self:
        return cls(block, params, _start_solver(block, params, len(draws)), draws)

    def __len__(self) -> int:
        return len(self.block)

    def __getitem__(self, where: slice) -> Self:
        draws = tuple({name: array[where] for name, array in draw.items()} for draw in self.draws)
        return replace(self, block=self.block[where], solver=self.solver[where], draws=draws)

    @property
    def asked(self) -> Denoising:
        return parameters_of(self.block, Denoising)

    @property
    def step(self) -> int:
        """The steps that are done, counted through all draws."""
        return len(self.draws) * self.asked.steps + self.solver.step

    def clean(self, denoised: Sequence[Array]) -> Array:
        """x0 [k, C, H, W] from D(query; sigma) under each label: guided, and held to what was measured."""
        return hold_to_measurement(self.block, guide(denoised, self.asked.guidance))

    def advance(self, job_id: str, x0: Array) -> tuple[list[Events], Self | None]:
        """The events of one evaluation, which gave the clean images x0; and what goes on, None where the rows end."""
        events = self._previews(job_id, x0)
        solver = self.solver.advance(x0, self._noise())
        if not solver.ended:
            return events, replace(self, solver=solver)
        draws = (*self.draws, restored_columns(self.block, to_pixels(solver.x)))
        if len(draws) < self.asked.draws:
            return events, self.start(self.block, self.params, draws)
        return [*events, self._events(job_id, "done", self.step + 1, summarise(draws))], None

    def fail(self, job_id: str) -> Events:
        """The end of rows whose clean images are not finite."""
        where = f"step {self.solver.step + 1} of {self.asked.steps}"
        failure = Failure(RowNotFinite.code, f"the model gave NaN or infinity in {where}")
        return failed(job_id, self.block.rows, failure)

    def _previews(self, job_id: str, x0: Array) -> list[Events]:
        """The step that begins; the second look of a step has been previewed already."""
        if self.solver.level != self.solver.step:
            return []
        numbers = {"step": self.step + 1, "steps": self.asked.steps * self.asked.draws}
        columns = {name: np.full(len(self), number) for name, number in numbers.items()}
        sigma = self.solver.schedule.sigma(self.solver.step) / 2
        return [self._events(job_id, "step", self.step, {"image": to_pixels(x0), **columns, "sigma": sigma})]

    def _events(self, job_id: str, kind: Literal["step", "done"], step: int, columns: Arrays) -> Events:
        return Events(job_id, kind, self.block.rows, np.full(len(self), step), columns)

    def _noise(self) -> Array | None:
        """The step's own noise, where the solver is stochastic."""
        if not self.solver.wants_noise:
            return None
        return rng.normal(self.block.seeds, STEP_STREAM, self.step, self.params.image_shape)


def _start_solver(block: Block, params: DiffusionParams, draw: int) -> Solver:
    """The solver at its start: at the noisy images themselves, or at the rows' noise of this draw."""
    asked = parameters_of(block, Denoising)
    if asked.task == "denoise":
        x, sigma = to_model_scale(dense(block, "measurement")), 2 * dense(block, "sigma")
    else:
        x = rng.normal(block.seeds, START_STREAM, draw, params.image_shape) * params.sigma_max
        sigma = np.full(len(block), params.sigma_max)
    return SOLVERS[asked.solver](karras_schedule(sigma, asked.steps, params), x)
