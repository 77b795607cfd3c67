"""Images from latents, drawn or given, of a class, drawn or given."""

import numpy as np

from fivefold.errors import InvalidInput
from fivefold.gan import SAMPLE, GanSampleRequest
from model_store.manifest import GanParams
from model_store.store import Model
from service.arrays import Array
from service.families.gan.conditioning import class_names, labels_of
from service.families.gan.parameters import GanGeneration
from service.families.inputs import read_numbers
from service.families.pipeline import (
    FieldColumns,
    Pipeline,
    Prepared,
    Results,
    count_of,
    params_of,
    prepare_block,
    seeds_of,
)
from service.families.session import dense


class Sample(Pipeline[GanSampleRequest]):
    """One pass of the generator."""

    operation = SAMPLE
    kind = GanGeneration

    def prepare(self, request: GanSampleRequest, model: Model) -> Prepared:
        params, count = params_of(model, GanParams), _count(request)
        points, refusals = _points(request, params.latent_size)
        labels = np.delete(labels_of(request, seeds_of(request, count), params), list(refusals))
        columns = {**points, "label": labels, "weights": np.ones((len(labels), 1), np.float32)}
        place = "n" if request.latents is None else "latents"
        return prepare_block(request, GanGeneration(request.truncation), count, columns, refusals=refusals, place=place)

    def render(self, request: GanSampleRequest, results: Results, model: Model) -> FieldColumns:
        return {
            "class": class_names(dense(results, "label"), params_of(model, GanParams)),
            "image": dense(results, "image"),
            "latents": dense(results, "points")[:, 0],
        }


def _points(request: GanSampleRequest, latent_size: int) -> tuple[dict[str, Array], dict[int, str]]:
    """The column of the latents that are given, [k, 1, D], and why others cannot be read."""
    if request.latents is None:
        return {}, {}
    points, refusals = read_numbers(request.latents, (latent_size,))
    return {"points": points[:, None]}, refusals


def _count(request: GanSampleRequest) -> int:
    if request.latents is None:
        return count_of(request)
    if "n" in request.model_fields_set and request.n != len(request.latents):
        given = f"n {request.n} given with {len(request.latents)} latents"
        raise InvalidInput.at("n", f"{given}: leave n out, each latent is one image")
    return len(request.latents)
