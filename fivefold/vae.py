"""Variational autoencoder: anomaly scores, the ELBO, encode, decode, reconstruct, sample."""

from typing import Annotated, Literal

from pydantic import Field

from fivefold.images import Image
from fivefold.operation import (
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
)

Score = Literal["elbo", "reconstruction", "kl"]
Output = Annotated[
    Literal["mean", "draw"],
    Field(description='"mean": the expected data E[x | z], smooth; "draw": data drawn from p(x | z)'),
]

_INPUT_BODIES = {NPY_TYPE: "rows", CSV_TYPE: "rows", **PICTURE_BODIES}
_SHUTTLE_ROW = [37.0, 0.0, 92.0, 0.0, 24.0, 3.0, 55.0, 69.0, 14.0]


class VaeAnomalyRequest(ScoredInputRequest):
    """How unlike the training data is each item? `seed` draws the posterior's noise (default 0).

    `score`, in nats, higher is stranger: "elbo" is -ELBO, "reconstruction" -log p(x | z), "kl" KL(q(z | x) || p(z)).
    At `alpha` 0.05, about 5 % of normal items are called anomalous.
    """

    score: Score = "elbo"
    alpha: Annotated[float, Field(gt=0, lt=1)] = Field(0.05, description="the rate of false alarms to live with")
    include_terms: bool = Field(False, description="add -log p(x_i | z) of every entry or pixel")


class VaeAnomaly(Item):
    """`p_value` is conformal: (1 + held-out scores >= the score) / (held-out scores + 1).

    Normal items have p_value <= alpha at most alpha of the time (Bates et al. 2021, arXiv:2104.08279). `anomalous` is
    p_value <= alpha, which is score_nats > threshold_nats. `heat_map` shows -log p(x_i | z) of an image: black for a
    pixel that is no surprise, white for one as surprising as noise (log 256 = 5.5 nats) or more. `terms_nats` are the
    same, in numbers; they sum to the score "reconstruction".
    """

    score_nats: float
    p_value: float
    anomalous: bool
    threshold_nats: float
    heat_map: Image | None = None
    terms_nats: list[float] | None = None


class VaeElboRequest(ScoredInputRequest):
    """`samples` draws of z from the posterior q(z | x), by the item's seed (default 0)."""

    samples: Annotated[int, Field(ge=1, le=512)] = Field(1, description="k of IWAE-k: more draws, a tighter bound")


class VaeElbo(Item):
    """ELBO = log p(x | z) - KL(q(z | x) || p(z)) <= log p(x): the mean over the draws (Kingma and Welling 2014).

    `iwae_nats` = log mean_i w_i with w = p(x, z) / q(z | x), in expectation a tighter bound the more draws there are
    (Burda et al. 2016, arXiv:1509.00519, eq. 8). Its standard error is that of log mean w to first order; one draw has
    none. `effective_sample_size` = (sum w)^2 / sum w^2 of the draws carry it: near 1, do not trust the error.
    """

    elbo_nats: float
    log_likelihood_nats: float
    kl_nats: float
    bits_per_dim: float
    iwae_nats: float
    effective_sample_size: float
    iwae_standard_error_nats: float | None = None


class VaeEncodeRequest(ScoredInputRequest):
    """Nothing is drawn: seeds are only echoed."""


class VaeEncoding(Item):
    """The approximate posterior q(z | x) = N(mean, diag(std^2))."""

    mean: list[float]
    std: list[float]


class VaeDecodeRequest(SeededRequest):
    """Latents, as JSON or as an array [n, latents]. `seed` draws from p(x | z) where `output` is "draw" (default 0)."""

    data = frozenset({"latents"})

    latents: NumberLists
    output: Output = "mean"


class VaeData(Item):
    """`row` for a table (its columns), `image` for an image model."""

    row: list[float] | None = None
    image: Image | None = None


class VaeReconstructRequest(InputRequest):
    """x -> z -> x. "mean": through the posterior's mean to the expected data; "draw": both are drawn."""

    output: Output = "mean"


class VaeReconstruction(VaeData):
    """`mean_absolute_error` is against what was given, in the units of the data ([0, 1] for images)."""

    mean_absolute_error: float


class VaeSampleRequest(SamplingRequest):
    """z ~ N(0, temperature^2), x ~ p(x | z), or its expectation."""

    temperature: Annotated[float, Field(ge=0, le=2)] = 1.0
    output: Output = "mean"


ANOMALY: Operation[VaeAnomalyRequest, Answer[VaeAnomaly], Chunk] = Operation(
    family="vae",
    name="anomaly",
    scope="score",
    summary="Anomaly scores with conformal p-values and a map of what is strange",
    request=VaeAnomalyRequest,
    answer=Answer[VaeAnomaly],
    chunk=None,
    example={"model": "vae-shuttle", "rows": [_SHUTTLE_ROW], "alpha": 0.01},
    main=("score_nats",),
    bodies=_INPUT_BODIES,
    answers=(JSON_TYPE, NPY_TYPE, CSV_TYPE),
)
ELBO: Operation[VaeElboRequest, Answer[VaeElbo], Chunk] = Operation(
    family="vae",
    name="elbo",
    scope="score",
    summary="The evidence lower bound in its parts, and the importance-weighted bound",
    request=VaeElboRequest,
    answer=Answer[VaeElbo],
    chunk=None,
    example={"model": "vae-shuttle", "rows": [_SHUTTLE_ROW], "samples": 16},
    main=("elbo_nats",),
    bodies=_INPUT_BODIES,
    answers=(JSON_TYPE, NPY_TYPE, CSV_TYPE),
)
ENCODE: Operation[VaeEncodeRequest, Answer[VaeEncoding], Chunk] = Operation(
    family="vae",
    name="encode",
    scope="score",
    summary="Latents of data: mean and standard deviation of the posterior",
    request=VaeEncodeRequest,
    answer=Answer[VaeEncoding],
    chunk=None,
    example={"model": "vae-shuttle", "rows": [_SHUTTLE_ROW]},
    main=("mean",),
    bodies=_INPUT_BODIES,
    answers=(JSON_TYPE, NPY_TYPE, CSV_TYPE),
)
DECODE: Operation[VaeDecodeRequest, Answer[VaeData], Chunk] = Operation(
    family="vae",
    name="decode",
    scope="generate",
    summary="Data from latents",
    request=VaeDecodeRequest,
    answer=Answer[VaeData],
    chunk=None,
    example={"model": "vae-shuttle", "latents": [[0.0] * 8]},
    main=("image", "row"),
    bodies={NPY_TYPE: "latents", CSV_TYPE: "latents"},
    answers=(JSON_TYPE, NPY_TYPE, CSV_TYPE, PNG_TYPE),
)
RECONSTRUCT: Operation[VaeReconstructRequest, Answer[VaeReconstruction], Chunk] = Operation(
    family="vae",
    name="reconstruct",
    scope="generate",
    summary="Data through the latents and back",
    request=VaeReconstructRequest,
    answer=Answer[VaeReconstruction],
    chunk=None,
    example={"model": "vae-shuttle", "rows": [_SHUTTLE_ROW]},
    main=("image", "row"),
    bodies=_INPUT_BODIES,
    answers=(JSON_TYPE, NPY_TYPE, CSV_TYPE, PNG_TYPE),
)
SAMPLE: Operation[VaeSampleRequest, Answer[VaeData], Chunk] = Operation(
    family="vae",
    name="sample",
    scope="generate",
    summary="Draw data from the model",
    request=VaeSampleRequest,
    answer=Answer[VaeData],
    chunk=None,
    example={"model": "vae-fashion", "n": 2, "seed": 7},
    main=("image", "row"),
    answers=(JSON_TYPE, NPY_TYPE, CSV_TYPE, PNG_TYPE),
)
OPERATIONS: tuple[AnyOperation, ...] = (ANOMALY, ELBO, ENCODE, DECODE, RECONSTRUCT, SAMPLE)
