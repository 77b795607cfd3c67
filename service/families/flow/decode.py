"""Data from latents, x = f^-1(z)."""

from collections.abc import Sequence

from fivefold.flow import DECODE, FlowDecodeRequest
from model_store.manifest import FlowParams
from model_store.store import Model
from service.families.inputs import array_of
from service.families.pipeline import Fields, Pipeline, Refusal, data_fields, params_of, prepare_each
from service.jobs import Event, Row


class Decode(Pipeline[FlowDecodeRequest]):
    """The inverse, at latents that are given."""

    operation = DECODE
    session_kind = "inverse"

    def prepare(self, request: FlowDecodeRequest, model: Model) -> list[Row | Refusal]:
        shape = params_of(model, FlowParams).event_shape

        def make(index: int, seed: int) -> Row:
            return Row(index, seed, {"z": array_of(request.latents[index], shape)})

        return prepare_each(request, len(request.latents), make, "latents")

    def render(self, request: FlowDecodeRequest, items: Sequence[Event], model: Model) -> list[Fields]:
        return [data_fields(item.arrays["x"]) for item in items]
