"""One row's draws: trajectories from its own noises, one after the other, and their mean and spread."""

import numpy as np

from model_store.manifest import DiffusionParams
from service.arrays import Array, Arrays
from service.families.diffusion.solvers import Query
from service.families.diffusion.trajectory import Trajectory
from service.jobs import Row


class Draws:
    """Advances as a trajectory does, once for each of the row's draws; steps are counted through all of them."""

    def __init__(self, row: Row, params: DiffusionParams) -> None:
        self._row, self._params = row, params
        self._trajectory, self._results = Trajectory(row, params), list[Arrays]()

    @property
    def query(self) -> Query:
        return self._trajectory.query

    @property
    def labels(self) -> list[int]:
        return self._trajectory.labels

    @property
    def step(self) -> int:
        return len(self._results) * self._trajectory.steps + self._trajectory.step

    @property
    def steps(self) -> int:
        return int(self._row.params["draws"]) * self._trajectory.steps

    def advance(self, *answer: Array) -> tuple[Arrays | None, Arrays | None]:
        """Take D(x; sigma) under each label; returns the preview of a step, and the result after the last draw."""
        preview, result = self._trajectory.advance(*answer)
        if preview is not None:
            preview = {**preview, "step": np.array(self.step), "steps": np.array(self.steps)}
        if result is None:
            return preview, None
        if len(self._results) + 1 == self._row.params["draws"]:
            return preview, summary([*self._results, result])
        self._results.append(result)
        self._trajectory = Trajectory(self._row, self._params, draw=len(self._results))
        return preview, None


def summary(results: list[Arrays]) -> Arrays:
    """The first draw; of several also the pixels' mean, and twice their standard deviation."""
    if len(results) == 1:
        return results[0]
    images = np.stack([result["image"] for result in results])
    spread = {"mean": images.mean(axis=0, dtype=np.float64), "uncertainty": 2 * images.std(axis=0, dtype=np.float64)}
    return {**results[0], **{name: array.astype(np.float32) for name, array in spread.items()}}
