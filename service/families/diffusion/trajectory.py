"""One row on its way from noise to an answer: a solver, what its clean image must agree with, and its events."""

import numpy as np

from fivefold.errors import RowNotFinite
from model_store.manifest import DiffusionParams
from service import rng
from service.arrays import Array, Arrays
from service.families.diffusion.operators import Average, Mask, Operator, into_box, project, residual
from service.families.diffusion.solvers import SOLVERS, Integration, karras_sigmas
from service.jobs import Row

NOISE_STREAM = 0


class Trajectory:
    """`query` is what it asks next, under each of `labels`; `advance` takes the answer.

    Pixels are in [0, 1] outside and in [-1, 1], the model's scale, inside; noise levels scale with them.
    """

    def __init__(self, row: Row, params: DiffusionParams, draw: int = 0) -> None:
        self.labels: list[int] = row.params["labels"]
        self.step, self.steps = 0, int(row.params["steps"])
        self._row, self._operator = row, _operator_of(row)
        self._solver = _integration(row, params, draw)
        self.query = next(self._solver)

    def advance(self, conditional: Array, unconditional: Array | None = None) -> tuple[Arrays | None, Arrays | None]:
        """Take D(x; sigma) under each label; returns the preview of a step that begins, and the result at the end.

        Raises RowNotFinite; then nothing has been sent to the solver.
        """
        x0 = self._clean(conditional, unconditional)
        if not np.isfinite(x0).all():
            raise RowNotFinite(f"the model gave NaN or infinity in step {self.step + 1} of {self.steps}")
        preview = self._preview(x0) if self.query.previewed else None
        try:
            self.query = self._solver.send(x0)
        except StopIteration as end:
            return preview, self._result(end.value)
        return preview, None

    def _clean(self, conditional: Array, unconditional: Array | None) -> Array:
        """D_none + g (D_class - D_none) (Ho and Salimans 2022, arXiv:2207.12598), held to what was measured."""
        x0 = conditional
        if unconditional is not None:
            x0 = unconditional + float(self._row.params["guidance"]) * (conditional - unconditional)
        if self._operator is not None:
            x0 = project(self._operator, _scaled(self._row.arrays["measurement"]), x0)
        return x0

    def _preview(self, x0: Array) -> Arrays:
        self.step += 1
        numbers = {"step": self.step, "steps": self.steps, "sigma": self.query.sigma / 2}
        return {"image": _pixels(x0)} | {name: np.array(number) for name, number in numbers.items()}

    def _result(self, x: Array) -> Arrays:
        image = _pixels(x)
        if self._operator is not None:
            return _consistent(self._operator, self._row.arrays["measurement"], image)
        if self._row.params["task"] == "denoise":
            return {"image": image, "sigma": np.array(self._row.params["sigma"])}
        return {"image": image}


def _integration(row: Row, params: DiffusionParams, draw: int) -> Integration:
    """The solver at its start: the noisy image itself, or the row's noise of this draw."""
    asked = row.params
    if asked["task"] == "denoise":
        x, sigma = _scaled(row.arrays["measurement"]), 2 * float(asked["sigma"])
    else:
        x, sigma = rng.normal(row.seed, NOISE_STREAM, draw, params.image_shape) * params.sigma_max, params.sigma_max
    return SOLVERS[asked["solver"]](x, karras_sigmas(asked["steps"], params, sigma))


def _operator_of(row: Row) -> Operator | None:
    if row.params["task"] == "super_resolve":
        return Average(int(row.params["factor"]))
    if row.params["task"] == "inpaint":
        return Mask(row.arrays["mask"])
    return None


def _consistent(operator: Operator, y: Array, image: Array) -> Arrays:
    """The image made consistent with y, and max |A x - y|: the larger of its own and of its 8-bit picture's."""
    image = into_box(operator, y, image)
    rounded = np.rint(image * 255) / np.float32(255)
    error = max(residual(operator, y, image), residual(operator, y, rounded))
    return {"image": image, "consistency_error": np.array(error)}


def _scaled(pixels: Array) -> Array:
    return 2 * pixels - 1


def _pixels(x: Array) -> Array:
    return np.clip((x + 1) / 2, 0, 1)
