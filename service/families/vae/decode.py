"""Data from latents that are given."""

from collections.abc import Sequence

from fivefold.vae import DECODE, VaeDecodeRequest
from model_store.manifest import VaeParams
from model_store.store import Model
from service.families.inputs import array_of
from service.families.pipeline import Fields, Pipeline, Refusal, data_fields, params_of, prepare_each
from service.jobs import Event, Row


class Decode(Pipeline[VaeDecodeRequest]):
    """p(x | z) at given latents: its mean or a draw."""

    operation = DECODE
    session_kind = "decode"

    def prepare(self, request: VaeDecodeRequest, model: Model) -> list[Row | Refusal]:
        shape, options = (params_of(model, VaeParams).latent_size,), {"output": request.output}

        def make(index: int, seed: int) -> Row:
            return Row(index, seed, {"z": array_of(request.latents[index], shape)}, options)

        return prepare_each(request, len(request.latents), make, "latents")

    def render(self, request: VaeDecodeRequest, items: Sequence[Event], model: Model) -> list[Fields]:
        return [data_fields(item.arrays["x"]) for item in items]
