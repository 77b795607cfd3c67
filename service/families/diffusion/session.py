"""The denoiser's session: every row a trajectory of its own, one call of the graph per step for all."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

import numpy as np
import structlog

from fivefold.errors import FivefoldError, RowFailed
from model_store.manifest import DiffusionParams
from model_store.store import Model
from service.arrays import Array, Arrays
from service.families.diffusion.draws import Draws
from service.families.diffusion.solvers import Query, heun, karras_sigmas, solve
from service.families.pipeline import params_of
from service.families.session import Session
from service.graph import Graph
from service.jobs import Event, Failure, Row, RowId


def open_sessions(model: Model, graphs: Mapping[str, Graph]) -> Mapping[str, Session]:
    """Sessions of a loaded diffusion model, by kind."""
    return {"denoiser": Denoiser(graphs["denoise"], params_of(model, DiffusionParams))}


class Denoiser:
    """Rows at different noise levels, with different step counts, solvers, tasks and guidance, in one step."""

    capacity = 256
    graphs = ("denoise",)

    def __init__(self, denoise: Graph, params: DiffusionParams) -> None:
        self._denoise, self._params = denoise, params
        self._rows: dict[RowId, Draws] = {}

    def admit(self, rows: Sequence[tuple[RowId, Row]]) -> None:
        self._rows.update({row_id: Draws(row, self._params) for row_id, row in rows})

    def ready(self) -> Sequence[RowId]:
        return list(self._rows)

    def step(self, rows: Sequence[RowId]) -> list[Event]:
        # The graph is asked before any trajectory moves: if it raises, no row has advanced.
        answers = _answers(self._denoise, [self._rows[row] for row in rows])
        return [event for row, answer in zip(rows, answers, strict=True) for event in self._advance(row, answer)]

    def drop(self, rows: Sequence[RowId]) -> None:
        for row in rows:
            self._rows.pop(row, None)

    def close(self) -> None:
        self._rows.clear()

    def _advance(self, row: RowId, answer: Sequence[Array]) -> Iterator[Event]:
        trajectory = self._rows[row]
        try:
            preview, result = trajectory.advance(*answer)
        except Exception as error:
            structlog.get_logger().exception("trajectory_failed", job_id=row[0], row=row[1])
            self.drop([row])
            yield Event(*row, trajectory.step, "failed", error=_failure(error, trajectory))
            return
        if preview is not None:
            yield Event(*row, trajectory.step - 1, "step", preview)
        if result is not None:
            self.drop([row])
            yield Event(*row, trajectory.step, "done", result)


def replay_sample(denoise: Graph, params: DiffusionParams, inputs: Arrays) -> Arrays:
    """The golden case "sample" (noise [n, C, H, W], label [n], steps) -> images in [-1, 1], by heun."""
    sigmas = karras_sigmas(int(inputs["steps"]), params, params.sigma_max)

    def answer(query: Query) -> Array:
        return _denoised(denoise, [Query(x, query.sigma) for x in query.x], inputs["label"].tolist())

    images = solve(heun(inputs["noise"] * np.float32(params.sigma_max), sigmas), answer)
    return {"images": images.clip(-1, 1)}


def _answers(denoise: Graph, trajectories: Sequence[Draws]) -> list[list[Array]]:
    """What each trajectory asked for, under each of its labels."""
    asked = [(trajectory.query, label) for trajectory in trajectories for label in trajectory.labels]
    answers = iter(_denoised(denoise, *zip(*asked, strict=True)))
    return [list(islice(answers, len(trajectory.labels))) for trajectory in trajectories]


def _denoised(denoise: Graph, queries: Sequence[Query], labels: Sequence[int]) -> Array:
    """D(x; sigma) [n, C, H, W] of every query under its label, in one call."""
    outputs = denoise(
        x=np.stack([query.x for query in queries]),
        sigma=np.array([query.sigma for query in queries], np.float32),
        # On the host and one by one: vectorised logarithms round differently in different batches.
        log_sigma=np.array([math.log(query.sigma) for query in queries], np.float32),
        label=np.array(labels, np.int64),
    )
    return outputs["denoised"].numpy()


def _failure(error: Exception, trajectory: Draws) -> Failure:
    if isinstance(error, FivefoldError):
        return Failure(error.code, error.message)
    return Failure(RowFailed.code, f"the solver failed in step {trajectory.step} of {trajectory.steps}")
