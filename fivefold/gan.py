"""Generative adversarial network: sample, interpolate, and the critic's score."""

from typing import Annotated, Literal

from pydantic import Field

from fivefold.images import Image
from fivefold.items import KeepRead
from fivefold.operation import (
    APNG_TYPE,
    CSV_TYPE,
    JSON_TYPE,
    NPY_TYPE,
    PICTURE_BODIES,
    PNG_TYPE,
    Answer,
    AnyOperation,
    Chunk,
    Item,
    NumberLists,
    Numbers,
    Operation,
    SamplingRequest,
    ScoredInputRequest,
    SeededRequest,
    SeedPair,
    Wire,
)

Truncation = Annotated[
    float, Field(ge=0, le=1, description="w = mean + truncation (w - mean): 1 is the model, 0 the mean style")
]


class Conditioned(Wire):
    """What is drawn: a class, and how far from its mean."""

    class_name: str | None = Field(None, alias="class", description="a class of the model; omitted: drawn by the seed")
    truncation: Truncation = 1.0


class GanSampleRequest(SamplingRequest, Conditioned):
    """z ~ N(0, 1) -> style w -> image. `latents` (z) are taken instead of drawn ones: one image for each, without `n`.

    Truncation trades variety for typicality (Karras et al. 2019, arXiv:1812.04948, appendix B).
    """

    data = frozenset({"latents"})

    latents: NumberLists | None = Field(None, description="z, one list per image")


class GanSample(Item):
    """One image of a class, and the latents z it was made from."""

    class_name: str = Field(alias="class")
    image: Image
    latents: list[float]


class GanInterpolateRequest(SeededRequest, Conditioned):
    """`frames` images from one end to the other, both included; all of one class.

    The ends are `latents`, or drawn from `seeds`, or else from `seed` (default 0) and `seed` + 1; a class that is not
    given is drawn from the first end's seed. `space` "z" walks along the great circle (slerp: Shoemake 1985; White
    2016, arXiv:1609.04468), where latents stay typical; "w" in a straight line between styles. image/png is a strip
    of all frames, image/apng plays them.
    """

    data = frozenset({"latents"})

    seeds: SeedPair | None = Field(None, description="the seeds of both ends")
    latents: Annotated[list[Numbers], Field(min_length=2, max_length=2, fail_fast=True), KeepRead] | None = Field(
        None, description="z of both ends"
    )
    frames: Annotated[int, Field(ge=2, le=64)] = 8
    space: Literal["z", "w"] = "z"


class GanFrame(Item):
    """The image at `position`, from 0 at the first end to 1 at the second. `seed` is the first end's."""

    class_name: str = Field(alias="class")
    image: Image
    position: float


class GanScoreRequest(ScoredInputRequest):
    """How real does the critic find each image, as one of a class?"""

    class_name: str | None = Field(
        None, alias="class", description="omitted: judged as each class, and the best is answered: percentiles rise"
    )


class GanScore(Item):
    """The critic's `logit` and D(x) = sigmoid(logit), and what they are worth.

    A critic learns to tell images apart, not a calibrated probability: read the percentiles (0 to 100), the share of
    held-out real images, and of generated ones, whose logit is not above this one.
    """

    class_name: str = Field(alias="class")
    logit: float
    probability: float
    percentile_real: float
    percentile_generated: float


SAMPLE: Operation[GanSampleRequest, Answer[GanSample], Chunk] = Operation(
    family="gan",
    name="sample",
    scope="generate",
    summary="Sample images of a class in one pass",
    request=GanSampleRequest,
    answer=Answer[GanSample],
    chunk=None,
    example={"n": 2, "class": "ankle-boot", "seed": 7, "truncation": 0.8},
    main=("image",),
    bodies={NPY_TYPE: "latents", CSV_TYPE: "latents"},
    answers=(JSON_TYPE, NPY_TYPE, PNG_TYPE),
)
INTERPOLATE: Operation[GanInterpolateRequest, Answer[GanFrame], Chunk] = Operation(
    family="gan",
    name="interpolate",
    scope="generate",
    summary="Walk from one image to another: frames, a strip or an animation",
    request=GanInterpolateRequest,
    answer=Answer[GanFrame],
    chunk=None,
    example={"class": "bag", "seeds": [3, 8], "frames": 4},
    main=("image",),
    bodies={NPY_TYPE: "latents", CSV_TYPE: "latents"},
    answers=(JSON_TYPE, NPY_TYPE, PNG_TYPE, APNG_TYPE),
    sequence=True,
)
SCORE: Operation[GanScoreRequest, Answer[GanScore], Chunk] = Operation(
    family="gan",
    name="score",
    scope="score",
    summary="How real the critic finds images",
    request=GanScoreRequest,
    answer=Answer[GanScore],
    chunk=None,
    example={"class": "bag", "rows": [[0.5] * 784]},
    main=("logit",),
    bodies={NPY_TYPE: "rows", CSV_TYPE: "rows", **PICTURE_BODIES},
    answers=(JSON_TYPE, NPY_TYPE, CSV_TYPE),
)
OPERATIONS: tuple[AnyOperation, ...] = (SAMPLE, INTERPOLATE, SCORE)
