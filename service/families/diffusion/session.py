"""The denoiser's session: every block advances at once, and one call of the graph a step serves all blocks."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, pairwise

import numpy as np

from model_store.manifest import DiffusionParams
from model_store.store import Model
from service.arrays import Array, finite_rows, size_bytes, split
from service.families.diffusion.parameters import Denoising
from service.families.diffusion.solvers import SOLVERS
from service.families.diffusion.trajectories import Trajectories
from service.families.family import Sessions
from service.families.pipeline import params_of
from service.families.session import ResidentRows, parameters_of
from service.graph import Graph
from service.jobs import Block, Events, Range
from service.settings import Settings


def open_sessions(model: Model, graphs: Mapping[str, Graph], settings: Settings) -> Sessions:
    """The session of a loaded diffusion model."""
    params = params_of(model, DiffusionParams)
    return {Denoising: Denoiser(graphs["denoise"], params, settings.session_bytes)}


Advance = tuple[Range, list[Events], Trajectories | None]
"""Rows that were alike in a step, their events, and what goes on of them."""


class Denoiser:
    """Rows at different noise levels, with different step counts, solvers, tasks and guidance, in one step.

    `capacity` is in bytes: what rows hold between steps.
    """

    def __init__(self, denoise: Graph, params: DiffusionParams, capacity: int) -> None:
        self.capacity = capacity
        self._denoise, self._params = denoise, params
        self._resident = ResidentRows[Trajectories]()

    def need(self, block: Block) -> int:
        """The solver's images, the results of earlier draws, the schedule and the columns, in bytes."""
        asked = parameters_of(block, Denoising)
        image = math.prod(self._params.image_shape) * np.dtype(np.float32).itemsize
        number = np.dtype(np.float64).itemsize
        draws = (asked.draws - 1) * (image + number)
        schedule = (asked.steps + 1) * number
        return SOLVERS[asked.solver].images() * image + draws + schedule + size_bytes(block.columns) // len(block)

    def admit(self, rows: Range, block: Block) -> None:
        self._resident.add(rows, Trajectories.start(block[rows.start : rows.stop], self._params))

    def ready(self, rows: Sequence[Range]) -> Sequence[Range]:
        return rows

    def step(self, rows: Sequence[Range]) -> Sequence[Events]:
        parts = [one for named in rows for one in self._parts(named)]
        answers = self._answers([part for _, part in parts])
        # All parts advance before one is replaced: if the graph or a part raises, no row has advanced.
        advances = [
            advance
            for (named, part), answer in zip(parts, answers, strict=True)
            for advance in _advance(named, part, answer)
        ]
        for named, _, following in advances:
            self._replace(named, following)
        return [event for _, events, _ in advances for event in events]

    def drop(self, rows: Sequence[Range]) -> None:
        for one in rows:
            self._resident.remove(one)

    def close(self) -> None:
        self._resident.clear()

    def _parts(self, rows: Range) -> Iterator[tuple[Range, Trajectories]]:
        """What is resident of these rows, each part with the rows that it has."""
        start = rows.start
        for part in self._resident.of(rows):
            yield Range(rows.job_id, start, start + len(part)), part
            start += len(part)

    def _replace(self, rows: Range, following: Trajectories | None) -> None:
        self._resident.remove(rows)
        if following is not None:
            self._resident.add(rows, following)

    def _answers(self, parts: Sequence[Trajectories]) -> list[list[Array]]:
        """D [k, C, H, W] where each part wants it, under each of its labels: one call of the graph."""
        asked = [(part.solver, label) for part in parts for label in part.asked.labels]
        solvers, counts = [solver for solver, _ in asked], [len(solver) for solver, _ in asked]
        outputs = self._denoise(
            x=np.concatenate([solver.query for solver in solvers]),
            sigma=np.concatenate([solver.schedule.sigma(solver.level) for solver in solvers]).astype(np.float32),
            log_sigma=np.concatenate([one.schedule.log_sigma(one.level) for one in solvers]).astype(np.float32),
            label=np.repeat(np.array([label for _, label in asked], np.int64), counts),
        )
        answers = iter(split({"x0": outputs["denoised"].numpy()}, counts))
        return [[one["x0"] for one in islice(answers, len(part.asked.labels))] for part in parts]


def _advance(rows: Range, part: Trajectories, denoised: Sequence[Array]) -> Iterator[Advance]:
    """Rows whose clean images are not finite fail; the others go on."""
    with np.errstate(over="ignore", invalid="ignore"):
        x0 = part.clean(denoised)
    finite = finite_rows({"x0": x0}, len(x0))
    bounds = [0, *(np.flatnonzero(np.diff(finite)) + 1).tolist(), len(x0)]
    for start, stop in pairwise(bounds):
        alike, where = part[start:stop], Range(rows.job_id, rows.start + start, rows.start + stop)
        if finite[start]:
            yield where, *alike.advance(rows.job_id, x0[start:stop])
        else:
            yield where, [alike.fail(rows.job_id)], None
