"""The posterior of data: q(z | x)."""

from collections.abc import Sequence

from fivefold.vae import ENCODE, VaeEncodeRequest
from model_store.manifest import VaeParams
from model_store.store import Model
from service.families.inputs import input_rows
from service.families.pipeline import Fields, Pipeline, Refusal, params_of
from service.jobs import Event, Row


class Encode(Pipeline[VaeEncodeRequest]):
    """One pass of the encoder."""

    operation = ENCODE
    session_kind = "encode"

    def prepare(self, request: VaeEncodeRequest, model: Model) -> list[Row | Refusal]:
        return input_rows(request, params_of(model, VaeParams).event_shape)

    def render(self, request: VaeEncodeRequest, items: Sequence[Event], model: Model) -> list[Fields]:
        return [dict(item.arrays) for item in items]
