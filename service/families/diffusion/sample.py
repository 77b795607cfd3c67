"""Images from noise, of a class or of any."""

from collections.abc import Sequence

from fivefold.diffusion import SAMPLE, DiffusionSampleRequest
from model_store.manifest import DiffusionParams
from model_store.store import Model
from service.families.diffusion.steering import preview, steering, work
from service.families.pipeline import Fields, Pipeline, Refusal, count_of, params_of, prepare_each
from service.jobs import Event, Row


class Sample(Pipeline[DiffusionSampleRequest]):
    """The probability flow ODE from noise to an image."""

    operation = SAMPLE
    session_kind = "denoiser"

    def prepare(self, request: DiffusionSampleRequest, model: Model) -> list[Row | Refusal]:
        steered = steering(request, params_of(model, DiffusionParams))
        options = {"task": "sample", **steered, "draws": 1}

        def make(index: int, seed: int) -> Row:
            return Row(index, seed, params=options, work=work(steered))

        return prepare_each(request, count_of(request), make, "n")

    def render(self, request: DiffusionSampleRequest, items: Sequence[Event], model: Model) -> list[Fields]:
        return [{"image": item.arrays["image"]} for item in items]

    def chunk(self, request: DiffusionSampleRequest, event: Event, state: Fields, model: Model) -> Fields:
        return preview(event)
