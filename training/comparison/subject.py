"""What a shipped model may be asked offline; each family answers what it can."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from model_store.store import Model
from training.checks import Runner, runner
from training.comparison.estimate import Estimate, Floats
from training.comparison.sets import Domain, Sets
from training.export import Exported

IWAE_ROWS, IWAE_DRAWS = 500, 64
BOUND_ROWS, BOUND_DRAWS = 500, 20


@dataclass(frozen=True)
class Samples:
    """Images [N, 1, 28, 28] in [0, 1], how they were made, and the classes [N] they were made for, if any."""

    how: str
    images: Floats
    labels: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Likelihood:
    """How well a model predicts test data, in `unit`; less is better. `over` says what it was measured on.

    "exact" is the density the model defines, "bound" is never less than the exact figure, "code" is a file's length.
    """

    measure: str
    kind: Literal["exact", "bound", "code"]
    unit: str
    estimate: Estimate
    over: str


@dataclass(frozen=True)
class Timed:
    """An operation as its raw graphs: one `item` takes each of `graphs` `calls` times."""

    operation: str
    item: str
    graphs: tuple[str, ...]
    calls: float = 1


@dataclass(frozen=True)
class Family:
    """A family in words: what is known of the latents of given data, and what it can and cannot answer."""

    name: str
    likelihood: str
    posterior: str
    answers: str
    cannot: str


class Subject(ABC):
    """A model of one family, and what its data are. The first of `timed` is the family's main operation."""

    family: ClassVar[Family]

    def __init__(self, model: Model, domain: Domain) -> None:
        self.model = model
        self.domain: Domain = domain

    @property
    def item(self) -> str:
        """What the figures are per."""
        return {"images": "image", "table": "row", "text": "token"}[self.domain]

    @property
    @abstractmethod
    def timed(self) -> tuple[Timed, ...]: ...

    def samples(self, count: int, seed: int) -> tuple[Samples, ...]:
        """Images, in each of the ways that the model can make them."""
        return ()

    def likelihood(self, sets: Sets, seed: int) -> tuple[Likelihood, ...]:
        return ()

    def scores(self, sets: Sets, seed: int) -> Mapping[str, Mapping[str, Floats]]:
        """By score and set: larger for stranger rows; the set "test" is like the training data."""
        return {}

    def denoise(self, noisy: Floats, sigma: float) -> Floats | None:
        """Images [N, 1, 28, 28] around [0, 1] without their Gaussian noise of standard deviation `sigma`."""
        return None

    def exported(self, graph: str) -> Exported:
        """A graph, from the store."""
        return Exported(self.model.graph(graph), self.model.manifest.graphs[graph])

    def runner(self, graph: str) -> Runner:
        """A graph that runs on one thread."""
        exported = self.exported(graph)
        return runner(exported.data, exported.spec)
