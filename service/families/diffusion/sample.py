"""Images from noise, of a class or of any."""

from fivefold.diffusion import SAMPLE, DiffusionSampleRequest
from model_store.manifest import DiffusionParams
from model_store.store import Model
from service.families.diffusion.guidance import denoising_of, preview_fields
from service.families.diffusion.parameters import Denoising
from service.families.pipeline import (
    FieldColumns,
    Fields,
    ItemStep,
    Pipeline,
    Prepared,
    Results,
    count_of,
    params_of,
    prepare_block,
)


class Sample(Pipeline[DiffusionSampleRequest]):
    """The probability flow ODE from noise to an image."""

    operation = SAMPLE
    kind = Denoising

    def prepare(self, request: DiffusionSampleRequest, model: Model) -> Prepared:
        asked = denoising_of(request, params_of(model, DiffusionParams))
        return prepare_block(request, asked, count_of(request), work=asked.work)

    def render(self, request: DiffusionSampleRequest, results: Results, model: Model) -> FieldColumns:
        return {"image": results.columns["image"]}

    def chunk(self, request: DiffusionSampleRequest, step: ItemStep, state: Fields, model: Model) -> Fields:
        return preview_fields(step)
