"""Images restored: denoised, super-resolved or inpainted."""

from dataclasses import replace
from typing import Any

import numpy as np

from fivefold.diffusion import ENHANCE, DiffusionEnhanceRequest
from fivefold.errors import Invalid, InvalidInput
from fivefold.images import Image
from fivefold.items import UnreadableItem
from model_store.manifest import DiffusionParams
from model_store.store import Model
from service import images
from service.arrays import Array
from service.families.diffusion.guidance import denoising_of, preview_fields
from service.families.diffusion.noise_level import estimate_sigma
from service.families.diffusion.operators import Mask
from service.families.diffusion.parameters import Denoising
from service.families.inputs import Inputs, inputs_of, reading
from service.families.pipeline import (
    FieldColumns,
    Fields,
    ItemStep,
    Pipeline,
    Prepared,
    Results,
    params_of,
    prepare_block,
    read_each,
    readable,
)

BELONGS_TO = {"sigma": "denoise", "mode": "denoise", "factor": "super_resolve", "masks": "inpaint"}


class Enhance(Pipeline[DiffusionEnhanceRequest]):
    """The probability flow ODE with its clean image held to what was measured."""

    operation = ENHANCE
    kind = Denoising

    def prepare(self, request: DiffusionEnhanceRequest, model: Model) -> Prepared:
        params = params_of(model, DiffusionParams)
        _check_fields(request)
        inputs = inputs_of(request, _measured_shape(request, params))
        asked = _parameters(request, params)
        refusals, shared = inputs.refusals, dict[str, Array]()
        columns = {"measurement": inputs.x}
        if request.task == "denoise":
            columns["sigma"] = _sigmas(request, inputs.x)
        if request.task == "inpaint":
            columns, shared, refusals = _inpainting(request, inputs, params)
        options: dict[str, Any] = {"shared": shared, "refusals": refusals, "place": inputs.place}
        return prepare_block(request, asked, inputs.count, columns, work=asked.work, **options)

    def render(self, request: DiffusionEnhanceRequest, results: Results, model: Model) -> FieldColumns:
        return results.columns

    def chunk(self, request: DiffusionEnhanceRequest, step: ItemStep, state: Fields, model: Model) -> Fields:
        return preview_fields(step)


def _check_fields(request: DiffusionEnhanceRequest) -> None:
    given = [name for name in BELONGS_TO if name in request.model_fields_set and getattr(request, name) is not None]
    invalid = [
        Invalid(place=name, message=f"{name} belongs to task {BELONGS_TO[name]}, not to {request.task}: leave it out")
        for name in given
        if BELONGS_TO[name] != request.task
    ]
    if invalid:
        raise InvalidInput(invalid[0].message, invalid=invalid)
    if request.task == "denoise" and request.num_samples > 1:
        asked = f"num_samples {request.num_samples} given, task denoise has 1"
        raise InvalidInput.at("num_samples", f"{asked}: its way begins at the image, nothing is drawn")


def _measured_shape(request: DiffusionEnhanceRequest, params: DiffusionParams) -> tuple[int, int, int]:
    channels, height, width = params.image_shape
    if request.task != "super_resolve":
        return params.image_shape
    if height % request.factor or width % request.factor:
        raise InvalidInput(
            f"factor {request.factor} does not divide the model's {width} x {height} pixels: use another"
        )
    return channels, height // request.factor, width // request.factor


def _parameters(request: DiffusionEnhanceRequest, params: DiffusionParams) -> Denoising:
    steered = replace(denoising_of(request, params), task=request.task, draws=request.num_samples)
    if request.task == "super_resolve":
        return replace(steered, factor=request.factor)
    if request.task == "denoise" and request.mode == "mmse":
        # One step of ddim to zero is D(y; sigma) itself: the posterior mean.
        return replace(steered, solver="ddim", steps=1)
    return steered


def _sigmas(request: DiffusionEnhanceRequest, measurements: Array) -> Array:
    """float64 [k], the noise level of each image: the request's, or estimated."""
    if request.sigma is not None:
        return np.full(len(measurements), request.sigma)
    return np.array([estimate_sigma(image) for image in measurements], np.float64)


def _inpainting(
    request: DiffusionEnhanceRequest, inputs: Inputs, params: DiffusionParams
) -> tuple[dict[str, Array], dict[str, Array], dict[int, str]]:
    """The columns and the shared arrays of what is known of the images, and every refusal by index.

    Raises InvalidInput for a wrong count of masks, or a bad only one.
    """
    masks = request.masks or []
    if len(masks) not in {1, inputs.count}:
        given = f"{len(masks)} masks given for {inputs.count} images"
        raise InvalidInput.at("masks", f"{given}: send 1 mask for all, or {inputs.count}, one for each")
    if len(masks) == 1:
        known = _known(masks[0], 0, params)
        return {"measurement": Mask(known).apply(inputs.x)}, {"mask": known}, inputs.refusals
    places = [index for index in range(inputs.count) if index not in inputs.refusals]
    read, bad = read_each(places, lambda index: _known(masks[index], index, params))
    known = np.array(read, np.bool_).reshape(-1, 1, *params.image_shape[1:])
    measurement = Mask(known).apply(np.delete(inputs.x, list(bad), axis=0))
    refusals = inputs.refusals | {places[place]: message for place, message in bad.items()}
    return {"measurement": measurement, "mask": known}, {}, refusals


def _known(mask: Image | UnreadableItem, index: int, params: DiffusionParams) -> Array:
    """bool [1, H, W], true where the mask is white: 128 and above."""
    with reading(f"masks.{index}"):
        white: Array = images.decode(readable(mask).data, (1, *params.image_shape[1:])) >= 0.5
    return white
