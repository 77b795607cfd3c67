"""Normalizing flow: exact log-likelihood, encode, decode, sample, interpolate."""

from typing import Annotated, Literal

from pydantic import Field

from fivefold.images import Image
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
    InputRequest,
    Item,
    NumberLists,
    Operation,
    SamplingRequest,
    ScoredInputRequest,
    SeededRequest,
    SeedPair,
)

_INPUT_BODIES = {NPY_TYPE: "rows", CSV_TYPE: "rows", **PICTURE_BODIES}
_SHUTTLE_ROW = [37.0, 0.0, 92.0, 0.0, 24.0, 3.0, 55.0, 69.0, 14.0]


class FlowLogLikelihoodRequest(ScoredInputRequest):
    """`seed` draws the dequantisation noise (default 0). `include_terms` adds one term per dimension or pixel."""

    include_terms: bool = Field(False, description="add the per-dimension terms, which sum to log_prob_nats")


class FlowLogLikelihood(Item):
    """log p(x) = log p(z) + sum of log-determinants, of one integer cell of the data (8-bit levels for images).

    `round_trip_error` is max |f^-1(f(x)) - x| in the units of the data ([0, 1] for images): the receipt of bijectivity.
    """

    log_prob_nats: float
    bits_per_dim: float
    base_log_prob_nats: float
    log_dets_nats: dict[str, float]
    round_trip_error: float
    terms_nats: list[float] | None = None


class FlowEncodeRequest(ScoredInputRequest):
    """`seed` draws the dequantisation noise (default 0)."""


class FlowEncoding(Item):
    """z = f(x), the exact posterior, flattened."""

    latents: list[float]


class FlowDecodeRequest(SeededRequest):
    """Latents, flattened; JSON, or an array [n, ...] as application/x-npy. Nothing is drawn: seeds are only echoed."""

    data = frozenset({"latents"})

    latents: NumberLists


class FlowInterpolateRequest(InputRequest):
    """`frames` items from one of 2 images or rows to the other, both included, through z = f(x).

    `path` "slerp" is the great circle between their latents (Shoemake 1985), on which the norm stays typical; "lerp"
    the straight line. `seed` draws the dequantisation noise of the first end (default 0), `seed` + 1 of the second.
    Of images, image/png is a strip of all frames, and image/apng plays them.
    """

    seeds: SeedPair | None = Field(None, description="the seeds of both ends")
    frames: Annotated[int, Field(ge=2, le=64)] = 8
    path: Literal["slerp", "lerp"] = "slerp"


class FlowSampleRequest(SamplingRequest):
    """z ~ N(0, temperature^2), x = f^-1(z)."""

    temperature: Annotated[float, Field(ge=0, le=2)] = 1.0


class FlowSample(Item):
    """`row` for a table (its columns), `image` for an image model."""

    row: list[float] | None = None
    image: Image | None = None


class FlowFrame(FlowSample):
    """The data at `position`, from 0 at the first end to 1 at the second. `seed` is the first end's."""

    position: float


LOG_LIKELIHOOD: Operation[FlowLogLikelihoodRequest, Answer[FlowLogLikelihood], Chunk] = Operation(
    family="flow",
    name="log-likelihood",
    scope="score",
    summary="Exact log-likelihood in nats and bits per dimension, with its parts",
    request=FlowLogLikelihoodRequest,
    answer=Answer[FlowLogLikelihood],
    chunk=None,
    example={"model": "flow-shuttle", "rows": [_SHUTTLE_ROW]},
    main=("log_prob_nats",),
    bodies=_INPUT_BODIES,
    answers=(JSON_TYPE, NPY_TYPE, CSV_TYPE),
)
ENCODE: Operation[FlowEncodeRequest, Answer[FlowEncoding], Chunk] = Operation(
    family="flow",
    name="encode",
    scope="score",
    summary="Latents of data: the exact posterior z = f(x)",
    request=FlowEncodeRequest,
    answer=Answer[FlowEncoding],
    chunk=None,
    example={"model": "flow-shuttle", "rows": [_SHUTTLE_ROW]},
    main=("latents",),
    bodies=_INPUT_BODIES,
    answers=(JSON_TYPE, NPY_TYPE, CSV_TYPE),
)
DECODE: Operation[FlowDecodeRequest, Answer[FlowSample], Chunk] = Operation(
    family="flow",
    name="decode",
    scope="generate",
    summary="Data from latents: x = f^-1(z)",
    request=FlowDecodeRequest,
    answer=Answer[FlowSample],
    chunk=None,
    example={"model": "flow-shuttle", "latents": [[0.0] * 9]},
    main=("image", "row"),
    bodies={NPY_TYPE: "latents", CSV_TYPE: "latents"},
    answers=(JSON_TYPE, NPY_TYPE, CSV_TYPE, PNG_TYPE),
)
SAMPLE: Operation[FlowSampleRequest, Answer[FlowSample], Chunk] = Operation(
    family="flow",
    name="sample",
    scope="generate",
    summary="Draw data from the model",
    request=FlowSampleRequest,
    answer=Answer[FlowSample],
    chunk=None,
    example={"model": "flow-fashion", "n": 2, "seed": 7, "temperature": 0.8},
    main=("image", "row"),
    answers=(JSON_TYPE, NPY_TYPE, CSV_TYPE, PNG_TYPE),
)
INTERPOLATE: Operation[FlowInterpolateRequest, Answer[FlowFrame], Chunk] = Operation(
    family="flow",
    name="interpolate",
    scope="generate",
    summary="Walk from one item to another through the latents",
    request=FlowInterpolateRequest,
    answer=Answer[FlowFrame],
    chunk=None,
    example={"model": "flow-shuttle", "rows": [_SHUTTLE_ROW, [0.0] * 9], "frames": 4},
    main=("image", "row"),
    bodies={NPY_TYPE: "rows", CSV_TYPE: "rows"},
    answers=(JSON_TYPE, NPY_TYPE, CSV_TYPE, PNG_TYPE, APNG_TYPE),
    sequence=True,
)
OPERATIONS: tuple[AnyOperation, ...] = (LOG_LIKELIHOOD, ENCODE, DECODE, SAMPLE, INTERPOLATE)
