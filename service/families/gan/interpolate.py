"""Images between two ends: along the great circle of latents, or straight between styles."""

import numpy as np

from fivefold.errors import InvalidInput
from fivefold.gan import INTERPOLATE, GanInterpolateRequest
from model_store.manifest import GanParams
from model_store.store import Model
from service.arrays import Array
from service.families.gan.conditioning import class_names, labels_of
from service.families.gan.parameters import GanGeneration
from service.families.gan.session import drawn_latents
from service.families.inputs import read_numbers
from service.families.interpolation import both_ends, great_circle, positions
from service.families.pipeline import FieldColumns, Pipeline, Prepared, Results, params_of, seeds_of
from service.families.session import dense
from service.jobs import Block, Integers


class Interpolate(Pipeline[GanInterpolateRequest]):
    """One pass of the generator per frame."""

    operation = INTERPOLATE
    kind = GanGeneration

    def prepare(self, request: GanInterpolateRequest, model: Model) -> Prepared:
        params, pair, frames = params_of(model, GanParams), seeds_of(request, 2), request.frames
        seeds = np.full(frames, pair[0])
        labels = labels_of(request, seeds, params)
        columns = _frames(request, _ends(request, pair, params)) | {"label": labels}
        block = Block(GanGeneration(request.truncation), np.arange(frames), seeds, np.ones(frames), columns)
        return Prepared(frames, block)

    def render(self, request: GanInterpolateRequest, results: Results, model: Model) -> FieldColumns:
        return {
            "class": class_names(dense(results, "label"), params_of(model, GanParams)),
            "image": dense(results, "image"),
            "position": positions(request.frames)[results.rows],
        }


def _ends(request: GanInterpolateRequest, seeds: Integers, params: GanParams) -> Array:
    """z of both ends, [2, D]. Raises InvalidInput for latents of another width, and for latents beside seeds."""
    if request.latents is None:
        return drawn_latents(seeds, params.latent_size)
    if request.seeds is not None:
        raise InvalidInput.at("seeds", "2 seeds and 2 latents given, 2 ends are possible: send seeds or latents")
    return both_ends(*read_numbers(request.latents, (params.latent_size,)), "latents")


def _frames(request: GanInterpolateRequest, ends: Array) -> dict[str, Array]:
    """The columns of the frames: their points [k, m, D] and the points' weights [k, m]."""
    at, frames = positions(request.frames), request.frames
    if request.space == "w":
        points = np.broadcast_to(ends, (frames, *ends.shape))
        return {"points": points, "weights": np.stack([1 - at, at], axis=1).astype(np.float32)}
    points = great_circle(ends[0], ends[1], at)[:, None]
    return {"points": points, "weights": np.ones((frames, 1), np.float32)}
