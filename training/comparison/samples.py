"""The quality of generated images: FD-fmnist beside its floor, and whether a sample is of the class asked for."""

from dataclasses import dataclass

import numpy as np

from training.comparison.estimate import Estimate, jackknife, mean
from training.comparison.subject import Samples
from training.evaluate import Scorer


@dataclass(frozen=True)
class Quality:
    """The figures of `count` images; `accuracy` is the classifier's, where a class was asked for."""

    how: str
    count: int
    fd_fmnist: Estimate
    accuracy: Estimate | None


def judge(samples: Samples, scorer: Scorer) -> Quality:
    """The figures of images as eight bits per pixel, as they are served."""
    features, logits = scorer.classify(np.rint(255 * samples.images.clip(0, 1)) / np.float32(255))
    right = None if samples.labels is None else mean(logits.argmax(axis=1) == samples.labels)
    return Quality(samples.how, len(features), jackknife(scorer.distance, features), right)
