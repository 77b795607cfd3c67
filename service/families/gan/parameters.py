"""What the items of a block share, by kind of the GAN's sessions."""

from dataclasses import dataclass

from service.jobs import Parameters


@dataclass(frozen=True)
class GanGeneration(Parameters):
    """Images of `label` [k] in styles that are sums of m points' styles by `weights` [k, m].

    The points are the column `points` [k, m, D], or one for each seed.
    """

    graphs = ("map", "synthesise")
    truncation: float = 1.0


@dataclass(frozen=True)
class GanJudgement(Parameters):
    """The logits of images `x` [k, C, H, W] as one of each of these labels."""

    graphs = ("discriminate",)
    labels: tuple[int, ...] = ()

    @property
    def step_evaluations(self) -> int:
        return len(self.labels)
