"""Data through the latents and back."""

from collections.abc import Sequence

from fivefold.vae import RECONSTRUCT, VaeReconstructRequest
from model_store.manifest import VaeParams
from model_store.store import Model
from service.families.inputs import input_rows
from service.families.pipeline import Fields, Pipeline, Refusal, data_fields, params_of
from service.jobs import Event, Row


class Reconstruct(Pipeline[VaeReconstructRequest]):
    """The encoder, then the decoder."""

    operation = RECONSTRUCT
    session_kind = "reconstruct"

    def prepare(self, request: VaeReconstructRequest, model: Model) -> list[Row | Refusal]:
        return input_rows(request, params_of(model, VaeParams).event_shape, {"output": request.output})

    def render(self, request: VaeReconstructRequest, items: Sequence[Event], model: Model) -> list[Fields]:
        return [
            {**data_fields(item.arrays["x"]), "mean_absolute_error": float(item.arrays["mean_absolute_error"])}
            for item in items
        ]
