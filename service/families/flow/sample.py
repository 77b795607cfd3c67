"""Data from noise, x = f^-1(z) with z ~ N(0, temperature^2)."""

from collections.abc import Sequence

from fivefold.flow import SAMPLE, FlowSampleRequest
from model_store.manifest import FlowParams
from model_store.store import Model
from service.families.pipeline import Fields, Pipeline, Refusal, count_of, data_fields, params_of, prepare_each
from service.jobs import Event, Row


class Sample(Pipeline[FlowSampleRequest]):
    """The inverse, at latents that the row's seed draws."""

    operation = SAMPLE
    session_kind = "inverse"

    def prepare(self, request: FlowSampleRequest, model: Model) -> list[Row | Refusal]:
        params_of(model, FlowParams)
        options = {"temperature": request.temperature}
        return prepare_each(request, count_of(request), lambda index, seed: Row(index, seed, params=options), "n")

    def render(self, request: FlowSampleRequest, items: Sequence[Event], model: Model) -> list[Fields]:
        return [data_fields(item.arrays["x"]) for item in items]
