"""A variational autoencoder, compared: two bounds, draws and expected images, and its three scores."""

import math
from collections.abc import Mapping
from functools import cached_property

import numpy as np

from model_store.manifest import VaeParams
from model_store.store import Model
from training.comparison.estimate import Floats, mean
from training.comparison.sets import Sets
from training.comparison.subject import (
    IWAE_DRAWS,
    IWAE_ROWS,
    Family,
    Likelihood,
    Samples,
    Subject,
    Timed,
)
from training.vae.measure import ExportedVae


class VaeSubject(Subject):
    family = Family(
        name="VAE",
        likelihood="bound (ELBO, IWAE)",
        posterior="approximate",
        answers="anomaly scores with p-values and heat-maps; a short code of x and back with loss; bounds; samples",
        cannot="tell log p(x) exactly; draw sharp images: pixels are drawn apart, expected ones are blurred",
    )

    def __init__(self, model: Model, params: VaeParams) -> None:
        super().__init__(model, "table" if params.columns else "images")
        self.params = params

    @property
    def timed(self) -> tuple[Timed, ...]:
        return Timed("anomaly", self.item, ("elbo",)), Timed("sample", self.item, ("decode",))

    def samples(self, count: int, seed: int) -> tuple[Samples, ...]:
        if self.domain == "table":
            return ()
        means, draws = self._graphs.sample(count, seed)
        return Samples("expected images", means), Samples("draws", draws)

    def likelihood(self, sets: Sets, seed: int) -> tuple[Likelihood, ...]:
        test = sets.rows(self.domain).test.astype(np.float32)
        some = test[:IWAE_ROWS]
        return (
            self._bound("ELBO", self._graphs.measure(test, seed).elbo),
            self._bound("ELBO", self._graphs.measure(some, seed).elbo),
            self._bound(f"IWAE-{IWAE_DRAWS}", self._graphs.iwae_nats(some, IWAE_DRAWS)),
        )

    def _bound(self, measure: str, nats: Floats) -> Likelihood:
        bits = -nats / (math.prod(self.params.event_shape) * math.log(2))
        return Likelihood(measure, "bound", "bits/dim", mean(bits), f"{len(nats)} {self.item}s")

    def scores(self, sets: Sets, seed: int) -> Mapping[str, Mapping[str, Floats]]:
        rows = sets.rows(self.domain)
        parts = {"test": rows.test, **rows.strangers}
        found = {name: self._graphs.measure(x.astype(np.float32), seed).anomaly() for name, x in parts.items()}
        return {score: {name: scores[score] for name, scores in found.items()} for score in found["test"]}

    @cached_property
    def _graphs(self) -> ExportedVae:
        return ExportedVae(self.exported("encode"), self.exported("elbo"), self.exported("decode"))
