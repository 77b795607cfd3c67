"""A normalizing flow, compared: exact densities, draws, and -log p as a score."""

from collections.abc import Mapping

import numpy as np

from model_store.manifest import FlowParams
from model_store.store import Model
from training.comparison.estimate import Floats, mean
from training.comparison.sets import Sets
from training.comparison.subject import Family, Likelihood, Samples, Subject, Timed
from training.export import answer
from training.flow.measure import ExportedFlow


class FlowSubject(Subject):
    family = Family(
        name="normalizing flow",
        likelihood="exact",
        posterior="exact, by bijectivity",
        answers="log p(x) layer by layer and entry by entry; the latents of x and back without loss; samples",
        cannot="restore images; make its best samples and its best likelihoods at once",
    )

    def __init__(self, model: Model, params: FlowParams) -> None:
        super().__init__(model, "table" if params.columns else "images")
        self.params = params

    @property
    def timed(self) -> tuple[Timed, ...]:
        return Timed("log-likelihood", self.item, ("forward",)), Timed("sample", self.item, ("inverse",))

    def samples(self, count: int, seed: int) -> tuple[Samples, ...]:
        if self.domain == "table":
            return ()
        exported = ExportedFlow(self.params.layers, self.exported("forward"), self.exported("inverse"))
        return (Samples("draws", exported.sample(count, seed)),)

    def likelihood(self, sets: Sets, seed: int) -> tuple[Likelihood, ...]:
        test = sets.rows(self.domain).test
        bits = -self._log_prob_nats(test, seed) / (test[0].size * np.log(2))
        return (
            Likelihood(
                "-log2 p(x + u), u uniform in the cell", "exact", "bits/dim", mean(bits), f"{len(bits)} {self.item}s"
            ),
        )

    def scores(self, sets: Sets, seed: int) -> Mapping[str, Mapping[str, Floats]]:
        rows = sets.rows(self.domain)
        parts = {"test": rows.test, **rows.strangers}
        return {"-log p": {name: -self._log_prob_nats(part, seed) for name, part in parts.items()}}

    def _log_prob_nats(self, x: Floats, seed: int) -> Floats:
        noise = np.random.default_rng(seed).random(x.shape, dtype=np.float32)
        return answer(self.exported("forward"), {"x": x, "noise": noise})["log_prob"]
