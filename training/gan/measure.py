"""Measures an exported GAN: FD-fmnist, classes, and how near the game is to its equilibrium."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from training.evaluate import Scorer
from training.export import Exported, answer

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class ExportedGan:
    """The three graphs of a GAN."""

    map: Exported
    synthesise: Exported
    discriminate: Exported

    def by_name(self) -> dict[str, Exported]:
        return {"map": self.map, "synthesise": self.synthesise, "discriminate": self.discriminate}

    def sample(self, label: Labels, seed: int = 0, truncation: float = 1.0) -> Floats:
        """Images [N, 1, 28, 28] in [0, 1] of the labels [N]."""
        latent_size = int(self.map.spec.inputs[0].shape[1])
        z = np.random.default_rng(seed).standard_normal((len(label), latent_size), dtype=np.float32)
        w = answer(self.map, {"z": z, "label": label, "truncation": np.full(len(label), truncation, np.float32)})["w"]
        return answer(self.synthesise, {"w": w, "label": label})["image"]

    def judge(self, image: Floats, label: Labels) -> Floats:
        """The critic's logits [N]."""
        return answer(self.discriminate, {"image": image, "label": label})["logit"]


def sample_metrics(images: Floats, label: Labels, scorer: Scorer) -> dict[str, float]:
    """The distance of images to the training set, its floor, and how often an image is of its class."""
    return {
        f"fd_fmnist_{len(images)}_samples": scorer.fd_fmnist(images),
        "fd_fmnist_floor": scorer.floor,
        "sample_class_accuracy": scorer.accuracy(images, label),
    }


def equilibrium_metrics(real: Floats, generated: Floats) -> dict[str, float]:
    """How well the critic tells logits [N] of data from those of generated images: at equilibrium D is 1/2 on both."""
    logits = np.concatenate((real, generated))
    return {
        "critic_mean_d_real": float(expit(real).mean()),
        "critic_mean_d_generated": float(expit(generated).mean()),
        "critic_accuracy": float(((real > 0).mean() + (generated < 0).mean()) / 2),
        "critic_auroc": float(roc_auc_score(np.arange(len(logits)) < len(real), logits)),
    }
