"""What sampling and enhancement share: how a row's trajectory is steered, its work, and its previews."""

from typing import Any

from fivefold.diffusion import Steering
from model_store.manifest import DiffusionParams
from service.families.diffusion.solvers import evaluations
from service.families.inputs import class_index
from service.families.pipeline import Fields
from service.jobs import Event


def steering(request: Steering, params: DiffusionParams) -> dict[str, Any]:
    """The row parameters solver, steps, labels and guidance. Raises InvalidInput for an unknown class.

    `labels` are the conditions of one evaluation: the class, and where guidance mixes it in also "no class".
    """
    label, none = label_of(request.class_name, params), len(params.classes)
    guided = request.guidance != 1 and label != none
    return {
        "solver": request.solver,
        "steps": request.steps,
        "labels": [label, none] if guided else [label],
        "guidance": request.guidance,
    }


def work(steered: dict[str, Any]) -> int:
    """Evaluations of the denoiser in one trajectory."""
    return evaluations(steered["solver"], steered["steps"]) * len(steered["labels"])


def label_of(class_name: str | None, params: DiffusionParams) -> int:
    """The index of a class; len(classes) for none."""
    return len(params.classes) if class_name is None else class_index(class_name, params.classes)


def preview(event: Event) -> Fields:
    """The fields of a streamed step."""
    arrays = event.arrays
    return {
        "step": int(arrays["step"]),
        "steps": int(arrays["steps"]),
        "sigma": float(arrays["sigma"]),
        "image": arrays["image"],
    }
