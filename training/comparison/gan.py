"""A generative adversarial network, compared: it makes images, and knows no density."""

import numpy as np

from model_store.manifest import GanParams
from model_store.store import Model
from training.comparison.subject import Family, Samples, Subject, Timed
from training.gan.measure import ExportedGan


class GanSubject(Subject):
    family = Family(
        name="GAN",
        likelihood="none: the game never evaluates a density",
        posterior="none",
        answers="samples by class in one pass; walks between latents; a critic's opinion of an image",
        cannot="tell how likely anything is; find the latents of x; promise to cover every kind of data",
    )

    def __init__(self, model: Model, params: GanParams) -> None:
        super().__init__(model, "images")
        self.params = params

    @property
    def timed(self) -> tuple[Timed, ...]:
        return Timed("sample", self.item, ("map", "synthesise")), Timed("score", self.item, ("discriminate",))

    def samples(self, count: int, seed: int) -> tuple[Samples, ...]:
        label = np.arange(count) % len(self.params.classes)
        exported = ExportedGan(*map(self.exported, ("map", "synthesise", "discriminate")))
        return (Samples("one pass, no truncation", exported.sample(label, seed), label),)
