"""What the items of a block share, by kind of the autoencoder's sessions."""

from dataclasses import dataclass
from typing import Literal

from service.jobs import Parameters

Output = Literal["mean", "draw"]


@dataclass(frozen=True)
class VaeBound(Parameters):
    """The bound of data `x` [k, *event] from this many draws; `terms` adds those of the entries in the first draw."""

    graphs = ("elbo",)
    samples: int = 1
    terms: bool = False


@dataclass(frozen=True)
class VaeEncoding(Parameters):
    """The posterior of data `x` [k, *event]."""

    graphs = ("encode",)


@dataclass(frozen=True)
class VaeDecoding(Parameters):
    """p(x | z), its mean or a draw, at latents `z` [k, D] or at draws from N(0, temperature^2)."""

    graphs = ("decode",)
    output: Output = "mean"
    temperature: float = 1.0


@dataclass(frozen=True)
class VaeReconstruction(Parameters):
    """Data `x` [k, *event] through the latents and back: means, or draws, of both distributions."""

    graphs = ("encode", "decode")
    output: Output = "mean"
