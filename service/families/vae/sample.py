"""Data from noise, through z ~ N(0, temperature^2)."""

from collections.abc import Sequence

from fivefold.vae import SAMPLE, VaeSampleRequest
from model_store.manifest import VaeParams
from model_store.store import Model
from service.families.pipeline import Fields, Pipeline, Refusal, count_of, data_fields, params_of, prepare_each
from service.jobs import Event, Row


class Sample(Pipeline[VaeSampleRequest]):
    """The decoder, at latents that the row's seed draws."""

    operation = SAMPLE
    session_kind = "decode"

    def prepare(self, request: VaeSampleRequest, model: Model) -> list[Row | Refusal]:
        params_of(model, VaeParams)
        options = {"temperature": request.temperature, "output": request.output}
        return prepare_each(request, count_of(request), lambda index, seed: Row(index, seed, params=options), "n")

    def render(self, request: VaeSampleRequest, items: Sequence[Event], model: Model) -> list[Fields]:
        return [data_fields(item.arrays["x"]) for item in items]
