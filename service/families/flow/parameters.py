"""What the items of a block share, by kind of the flow's sessions."""

from dataclasses import dataclass

from service.families.interpolation import PathName
from service.jobs import Parameters


@dataclass(frozen=True)
class FlowScore(Parameters):
    """The log-density of data `x` [k, *event]; `include_terms` adds the term of each entry."""

    graphs = ("forward", "inverse")
    include_terms: bool = False


@dataclass(frozen=True)
class FlowEncoding(Parameters):
    """The latents of data `x` [k, *event]."""

    graphs = ("forward",)


@dataclass(frozen=True)
class FlowInversion(Parameters):
    """Data of latents: the column `z` [k, *event], or draws from N(0, temperature^2)."""

    graphs = ("inverse",)
    temperature: float = 1.0


@dataclass(frozen=True)
class FlowInterpolation(Parameters):
    """Data between the shared `ends` [2, *event], whose noise has these seeds, at `position` [k] in [0, 1]."""

    graphs = ("forward", "inverse")
    path: PathName = "slerp"
    seeds: tuple[int, int] = (0, 0)
