"""Diffusion: class-conditional sampling; enhancement by denoising, super-resolution and inpainting."""

from typing import Annotated, Literal

from pydantic import Field

from fivefold.images import Image
from fivefold.items import Items
from fivefold.operation import (
    JSON_TYPE,
    NPY_TYPE,
    PICTURE_BODIES,
    PNG_TYPE,
    Answer,
    AnyOperation,
    Chunk,
    InputRequest,
    Item,
    Operation,
    SamplingRequest,
    Wire,
)

Solver = Literal["heun", "dpmpp_2m", "ddim"]
Task = Literal["denoise", "super_resolve", "inpaint"]


class Steering(Wire):
    """How a trajectory is integrated.

    `steps` noise levels (Karras et al. 2022, arXiv:2206.00364, eq. 5) from the largest to zero; heun evaluates the
    network twice a step, the others once. `guidance` g mixes D = D_none + g (D_class - D_none) (Ho and Salimans 2022,
    arXiv:2207.12598); 1 is the plain conditional model.
    """

    solver: Solver = "dpmpp_2m"
    steps: Annotated[int, Field(ge=1, le=1000)] = 15
    class_name: str | None = Field(None, alias="class", description="a class of the model; omitted: any")
    guidance: Annotated[float, Field(ge=0, le=20)] = 1.0


class DiffusionSampleRequest(SamplingRequest, Steering):
    """`n` images of a class, or of any."""


class DiffusionEnhanceRequest(InputRequest, Steering):
    """Restore images by null-space projection, x = A+ y + (I - A+ A) x0 (Wang et al. 2022, arXiv:2212.00490).

    * denoise: `sigma` is the standard deviation of the noise in pixel units ([0, 1] images: 25/255 = 0.098), estimated
      where omitted. `mode` "mmse" is the posterior mean in one evaluation, "sample" one draw from the posterior.
    * super_resolve: images smaller than the model's by `factor` in each direction.
    * inpaint: `masks`, one for all images or one each: white (>= 128) is known, black is filled in.
    """

    data = frozenset({"images", "rows", "masks"})

    task: Task
    sigma: Annotated[float, Field(gt=0, le=1)] | None = None
    mode: Literal["mmse", "sample"] = "mmse"
    factor: Literal[2, 4] = 2
    masks: Items[Image] | None = None
    num_samples: Annotated[int, Field(ge=1, le=64)] = Field(
        1, description="draws per image, for their mean and spread (super_resolve, inpaint)"
    )


class DiffusionSample(Item):
    """One image."""

    image: Image


class DiffusionRestoration(Item):
    """`sigma` is the noise level used (denoise), `consistency_error` is max |A x - y| in [0, 1] (the other tasks).

    The error is that of the 8-bit picture where it is the larger: rounding alone can cost half a level. Of several
    draws, `image` is the first, the one that `num_samples` 1 gives; `mean` is their pixels' mean, and `uncertainty`
    twice their standard deviation: black where all agree, white at the largest possible, 0.5.
    """

    image: Image
    sigma: float | None = None
    consistency_error: float | None = None
    mean: Image | None = None
    uncertainty: Image | None = None


class DiffusionPreview(Chunk):
    """The clean image as the model sees it at step `step` of `steps`, at noise level `sigma` (in pixel units)."""

    step: int
    steps: int
    sigma: float
    image: Image


SAMPLE = Operation(
    family="diffusion",
    name="sample",
    scope="generate",
    summary="Sample images of a class, with previews of every step",
    request=DiffusionSampleRequest,
    answer=Answer[DiffusionSample],
    chunk=DiffusionPreview,
    example={"n": 2, "class": "ankle-boot", "seed": 7, "steps": 8},
    main=("image",),
    answers=(JSON_TYPE, NPY_TYPE, PNG_TYPE),
)
ENHANCE = Operation(
    family="diffusion",
    name="enhance",
    scope="generate",
    summary="Denoise, super-resolve or inpaint images",
    request=DiffusionEnhanceRequest,
    answer=Answer[DiffusionRestoration],
    chunk=DiffusionPreview,
    example={"task": "denoise", "sigma": 0.2, "rows": [[0.5] * 784]},
    main=("image",),
    bodies={**PICTURE_BODIES, NPY_TYPE: "rows"},
    answers=(JSON_TYPE, NPY_TYPE, PNG_TYPE),
)
OPERATIONS: tuple[AnyOperation, ...] = (SAMPLE, ENHANCE)
