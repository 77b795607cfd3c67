"""What sampling and enhancement share: the parameters of a request, classifier-free guidance, and previews."""

from collections.abc import Sequence

from fivefold.diffusion import Steering
from model_store.manifest import DiffusionParams
from service.arrays import Array
from service.families.diffusion.parameters import Denoising
from service.families.inputs import class_index
from service.families.pipeline import Fields, ItemStep


def denoising_of(request: Steering, params: DiffusionParams) -> Denoising:
    """The parameters of sampling, as the request steers it. Raises InvalidInput for an unknown class."""
    label, none = label_of(request.class_name, params), len(params.classes)
    guided = request.guidance != 1 and label != none
    labels = (label, none) if guided else (label,)
    return Denoising(solver=request.solver, steps=request.steps, labels=labels, guidance=request.guidance)


def label_of(class_name: str | None, params: DiffusionParams) -> int:
    """The index of a class; len(classes) for none."""
    return len(params.classes) if class_name is None else class_index(class_name, params.classes)


def guide(denoised: Sequence[Array], guidance: float) -> Array:
    """D_none + g (D_class - D_none) of [D_class, D_none] (Ho and Salimans 2022, arXiv:2207.12598); of one D, itself."""
    if len(denoised) == 1:
        return denoised[0]
    conditional, unconditional = denoised
    guided: Array = unconditional + guidance * (conditional - unconditional)
    return guided


def preview_fields(step: ItemStep) -> Fields:
    """The fields of a streamed step."""
    arrays = step.arrays
    return {
        "step": int(arrays["step"]),
        "steps": int(arrays["steps"]),
        "sigma": float(arrays["sigma"]),
        "image": arrays["image"],
    }
