"""Images between two ends: along the great circle of latents, or straight between styles."""

from collections.abc import Iterator, Sequence

import numpy as np

from fivefold.errors import InvalidInput
from fivefold.gan import INTERPOLATE, GanInterpolateRequest
from model_store.manifest import GanParams
from model_store.store import Model
from service.arrays import Array
from service.families.gan.conditioning import conditioning
from service.families.gan.session import drawn_latents
from service.families.inputs import array_of, reading
from service.families.path import great_circle, positions
from service.families.pipeline import Fields, Pipeline, Refusal, params_of, seeds_of
from service.jobs import Event, Row


class Interpolate(Pipeline[GanInterpolateRequest]):
    """One pass of the generator per frame."""

    operation = INTERPOLATE
    session_kind = "generator"

    def prepare(self, request: GanInterpolateRequest, model: Model) -> list[Row | Refusal]:
        params = params_of(model, GanParams)
        seeds = seeds_of(request, 2)
        options = conditioning(request, seeds[0], params)
        return [
            Row(index, seeds[0], {"points": points}, {**options, "weights": weights})
            for index, (points, weights) in enumerate(_frames(request, _ends(request, seeds, params)))
        ]

    def render(self, request: GanInterpolateRequest, items: Sequence[Event], model: Model) -> list[Fields]:
        classes, at = params_of(model, GanParams).classes, positions(request.frames)
        return [
            {
                "class": classes[int(item.arrays["label"])],
                "image": item.arrays["image"],
                "position": at[item.row],
            }
            for item in items
        ]


def _ends(request: GanInterpolateRequest, seeds: Sequence[int], params: GanParams) -> Array:
    """z of both ends, [2, D]. Raises InvalidInput for latents of another width, and for latents beside seeds."""
    if request.latents is None:
        return np.stack([drawn_latents(seed, params.latent_size) for seed in seeds])
    if request.seeds is not None:
        raise InvalidInput.at("seeds", "2 seeds and 2 latents given, 2 ends are possible: send seeds or latents")
    ends = []
    for index, numbers in enumerate(request.latents):
        with reading(f"latents.{index}"):
            ends.append(array_of(numbers, (params.latent_size,)))
    return np.stack(ends)


def _frames(request: GanInterpolateRequest, ends: Array) -> Iterator[tuple[Array, list[float]]]:
    """The points of each frame and their weights."""
    for position in positions(request.frames):
        if request.space == "w":
            yield ends, [1 - position, position]
        else:
            yield great_circle(ends[0], ends[1], position)[None], [1.0]
