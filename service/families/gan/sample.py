"""Images from latents, drawn or given, of a class, drawn or given."""

from collections.abc import Sequence

from fivefold.errors import InvalidInput
from fivefold.gan import SAMPLE, GanSampleRequest
from model_store.manifest import GanParams
from model_store.store import Model
from service.families.gan.conditioning import conditioning
from service.families.inputs import array_of
from service.families.pipeline import Fields, Pipeline, Refusal, count_of, params_of, prepare_each
from service.jobs import Event, Row


class Sample(Pipeline[GanSampleRequest]):
    """One pass of the generator."""

    operation = SAMPLE
    session_kind = "generator"

    def prepare(self, request: GanSampleRequest, model: Model) -> list[Row | Refusal]:
        params = params_of(model, GanParams)
        conditioning(request, 0, params)  # an unknown class is no fault of one item

        def make(index: int, seed: int) -> Row:
            options = {**conditioning(request, seed, params), "weights": [1.0]}
            if request.latents is None:
                return Row(index, seed, params=options)
            return Row(index, seed, {"points": array_of(request.latents[index], (params.latent_size,))[None]}, options)

        return prepare_each(request, _count(request), make, "n" if request.latents is None else "latents")

    def render(self, request: GanSampleRequest, items: Sequence[Event], model: Model) -> list[Fields]:
        classes = params_of(model, GanParams).classes
        return [
            {
                "class": classes[int(item.arrays["label"])],
                "image": item.arrays["image"],
                "latents": item.arrays["points"][0],
            }
            for item in items
        ]


def _count(request: GanSampleRequest) -> int:
    if request.latents is None:
        return count_of(request)
    if "n" in request.model_fields_set and request.n != len(request.latents):
        given = f"n {request.n} given with {len(request.latents)} latents"
        raise InvalidInput.at("n", f"{given}: leave n out, each latent is one image")
    return len(request.latents)
