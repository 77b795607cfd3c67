"""Latents of data, z = f(x)."""

from collections.abc import Sequence

from fivefold.flow import ENCODE, FlowEncodeRequest
from model_store.manifest import FlowParams
from model_store.store import Model
from service.families.inputs import input_rows
from service.families.pipeline import Fields, Pipeline, Refusal, params_of
from service.jobs import Event, Row


class Encode(Pipeline[FlowEncodeRequest]):
    """The exact posterior: a flow has one z for every x."""

    operation = ENCODE
    session_kind = "encode"

    def prepare(self, request: FlowEncodeRequest, model: Model) -> list[Row | Refusal]:
        return input_rows(request, params_of(model, FlowParams).event_shape)

    def render(self, request: FlowEncodeRequest, items: Sequence[Event], model: Model) -> list[Fields]:
        return [{"latents": item.arrays["z"].reshape(-1)} for item in items]
