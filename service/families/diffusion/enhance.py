"""Images restored: denoised, super-resolved or inpainted."""

from collections.abc import Callable, Sequence
from typing import Any

from fivefold.diffusion import ENHANCE, DiffusionEnhanceRequest
from fivefold.errors import Invalid, InvalidInput
from fivefold.images import Image
from model_store.manifest import DiffusionParams
from model_store.store import Model
from service import images
from service.arrays import Array, Arrays
from service.families.diffusion.noise_level import estimate_sigma
from service.families.diffusion.operators import Mask
from service.families.diffusion.steering import preview, steering, work
from service.families.inputs import inputs_of, reading
from service.families.pipeline import Fields, Pipeline, Refusal, params_of, prepare_each
from service.jobs import Event, Row

BELONGS_TO = {"sigma": "denoise", "mode": "denoise", "factor": "super_resolve", "masks": "inpaint"}


class Enhance(Pipeline[DiffusionEnhanceRequest]):
    """The probability flow ODE with its clean image held to what was measured."""

    operation = ENHANCE
    session_kind = "denoiser"

    def prepare(self, request: DiffusionEnhanceRequest, model: Model) -> list[Row | Refusal]:
        params = params_of(model, DiffusionParams)
        _check_fields(request)
        inputs = inputs_of(request, _measured_shape(request, params))
        steered = steering(request, params)
        arrays_of = _inpainting(request, inputs.count, params) if request.task == "inpaint" else _measurement

        def make(index: int, seed: int) -> Row:
            arrays = arrays_of(index, inputs.read(index))
            asked = {"task": request.task, **steered, **_options(request, arrays["measurement"])}
            asked["draws"] = request.num_samples
            return Row(index, seed, arrays, asked, work(asked) * request.num_samples)

        return prepare_each(request, inputs.count, make, inputs.place)

    def render(self, request: DiffusionEnhanceRequest, items: Sequence[Event], model: Model) -> list[Fields]:
        return [
            {name: array if array.ndim == 3 else float(array) for name, array in item.arrays.items()} for item in items
        ]

    def chunk(self, request: DiffusionEnhanceRequest, event: Event, state: Fields, model: Model) -> Fields:
        return preview(event)


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


def _options(request: DiffusionEnhanceRequest, measurement: Array) -> dict[str, Any]:
    """The row parameters of one task alone."""
    if request.task == "super_resolve":
        return {"factor": request.factor}
    if request.task == "inpaint":
        return {}
    sigma = request.sigma if request.sigma is not None else estimate_sigma(measurement)
    # One step of ddim to zero is D(y; sigma) itself: the posterior mean.
    return {"sigma": sigma} | ({"solver": "ddim", "steps": 1} if request.mode == "mmse" else {})


def _measurement(index: int, image: Array) -> Arrays:
    return {"measurement": image}


def _inpainting(
    request: DiffusionEnhanceRequest, count: int, params: DiffusionParams
) -> Callable[[int, Array], Arrays]:
    """What is known of each image, and where. Raises InvalidInput for a wrong count of masks, or a bad only one."""
    masks = request.masks or []
    if len(masks) not in {1, count}:
        given = f"{len(masks)} masks given for {count} images"
        raise InvalidInput.at("masks", f"{given}: send 1 mask for all, or {count}, one for each")
    only = _known(masks[0], "masks.0", params) if len(masks) == 1 else None

    def arrays_of(index: int, image: Array) -> Arrays:
        mask = only if only is not None else _known(masks[index], f"masks.{index}", params)
        return {"measurement": Mask(mask).apply(image), "mask": mask}

    return arrays_of


def _known(mask: Image, place: str, params: DiffusionParams) -> Array:
    """bool [H, W], true where the mask is white: 128 and above."""
    with reading(place):
        white: Array = images.decode(mask.data, (1, *params.image_shape[1:]))[0] >= 0.5
    return white
