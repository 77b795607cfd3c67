"""Data between two items, by way of their latents."""

from collections.abc import Sequence

import numpy as np

from fivefold.errors import InvalidInput
from fivefold.flow import INTERPOLATE, FlowInterpolateRequest
from model_store.manifest import FlowParams
from model_store.store import Model
from service.arrays import Array
from service.families.inputs import inputs_of, reading
from service.families.path import positions
from service.families.pipeline import Fields, Pipeline, Refusal, data_fields, params_of, seeds_of
from service.jobs import Event, Row


class Interpolate(Pipeline[FlowInterpolateRequest]):
    """Forward on both ends, a way between their latents, and the inverse: for each frame."""

    operation = INTERPOLATE
    session_kind = "between"

    def prepare(self, request: FlowInterpolateRequest, model: Model) -> list[Row | Refusal]:
        ends, seeds = _ends(request, params_of(model, FlowParams).event_shape), seeds_of(request, 2)
        options = {"seeds": seeds, "path": request.path}
        return [
            Row(index, seeds[0], {"ends": ends}, {**options, "position": position})
            for index, position in enumerate(positions(request.frames))
        ]

    def render(self, request: FlowInterpolateRequest, items: Sequence[Event], model: Model) -> list[Fields]:
        at = positions(request.frames)
        return [{**data_fields(item.arrays["x"]), "position": at[item.row]} for item in items]


def _ends(request: FlowInterpolateRequest, shape: tuple[int, ...]) -> Array:
    """Both ends, [2, *event]. Raises InvalidInput for another count, naming the end that cannot be read."""
    inputs = inputs_of(request, shape)
    if inputs.count != 2:
        raise InvalidInput.at(inputs.place, f"{inputs.count} {inputs.place} given, 2 expected: send both ends")
    ends = []
    for index in range(2):
        with reading(f"{inputs.place}.{index}"):
            ends.append(inputs.read(index))
    return np.stack(ends)
