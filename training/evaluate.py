"""The figures: FD-fmnist (Frechet distance in our classifier's features), accuracy, PSNR, SSIM."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from model_store.manifest import Params
from model_store.store import Model, Store
from training.checks import Runner, runner

CLASSIFIER = "classifier-fashion"
CLASSIFIER_ROOT = Path(__file__).parent / "metrics"
RIDGE = 1e-6  # added to every covariance: dead units would make it singular
CHUNK = 500

Floats = NDArray[np.floating[Any]]


class ClassifierParams(Params):
    """A classifier of images [C, H, W] in [0, 1]; its graph returns features and logits."""

    family: Literal["classifier"] = "classifier"
    image_shape: tuple[int, int, int]
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Statistics:
    """Mean [F] and covariance [F, F] of features."""

    mean: Floats
    covariance: Floats

    @classmethod
    def of(cls, features: Floats) -> "Statistics":
        """Statistics of features [N, F], with the ridge that keeps the covariance regular."""
        features = features.astype(np.float64)
        covariance = np.cov(features, rowvar=False) + RIDGE * np.eye(features.shape[1])
        return cls(features.mean(axis=0), covariance)


def frechet_distance(a: Statistics, b: Statistics) -> float:
    """|mean_a - mean_b|^2 + tr(A + B - 2 (A B)^(1/2)): the squared distance of Heusel et al. 2017, arXiv:1706.08500."""
    values, vectors = np.linalg.eigh(a.covariance)
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ b.covariance @ root).clip(min=0)).sum()
    squared = np.sum((a.mean - b.mean) ** 2) + np.trace(a.covariance) + np.trace(b.covariance) - 2 * cross
    return float(squared)


def classify(run: Runner, images: Floats) -> tuple[Floats, Floats]:
    """Features [N, F] and logits [N, classes] of images [N, 1, 28, 28] in [0, 1]."""
    chunks = [run({"x": images[start : start + CHUNK].astype(np.float32)}) for start in range(0, len(images), CHUNK)]
    features, logits = (np.concatenate([chunk[name] for chunk in chunks]) for name in ("features", "logits"))
    return features, logits


def accuracy(logits: Floats, labels: NDArray[np.int64]) -> float:
    """The fraction of rows whose largest logit is the label's."""
    return float(np.mean(logits.argmax(axis=1) == labels))


class Scorer:
    """FD-fmnist: the Frechet distance between images and the Fashion-MNIST training set, in the classifier's features.

    A figure is comparable only with figures of the same classifier (`provenance` holds its sha256) and of the same
    number of images. `floor` is the distance of the 10,000 test images.
    """

    def __init__(self, root: Path = CLASSIFIER_ROOT) -> None:
        model = Store(root).resolve(CLASSIFIER)
        spec = model.manifest.graphs["classify"]
        self._run = runner(model.graph("classify"), spec)
        self._reference = _reference(model)
        self.provenance = {f"{CLASSIFIER}/{spec.file}": spec.sha256}
        self.floor = model.manifest.metrics["fd_fmnist_floor"]

    def classify(self, images: Floats) -> tuple[Floats, Floats]:
        """Features [N, F] and logits [N, classes] of images [N, 1, 28, 28] in [0, 1]."""
        return classify(self._run, images)

    def distance(self, features: Floats) -> float:
        """The distance of images by their features; thousands are needed for a stable figure."""
        return frechet_distance(Statistics.of(features), self._reference)

    def fd_fmnist(self, images: Floats) -> float:
        """The distance of images [N, 1, 28, 28] in [0, 1]."""
        return self.distance(self.classify(images)[0])

    def accuracy(self, images: Floats, labels: NDArray[np.int64]) -> float:
        """The fraction of images that the classifier puts into the class they were made for."""
        return accuracy(self.classify(images)[1], labels)


def psnr_by_image_db(clean: Floats, restored: Floats) -> Floats:
    """The peak signal-to-noise ratio of each of the images [N, 1, H, W] in [0, 1], in dB: [N]."""
    pairs = zip(clean, restored, strict=True)
    return np.array([peak_signal_noise_ratio(*pair, data_range=1.0) for pair in pairs])  # type: ignore[no-untyped-call]


def ssim_by_image(clean: Floats, restored: Floats) -> Floats:
    """The structural similarity of each of the images [N, 1, H, W] in [0, 1]: [N]; 1 is identity."""
    pairs = zip(clean[:, 0], restored[:, 0], strict=True)
    return np.array([structural_similarity(*pair, data_range=1.0) for pair in pairs])  # type: ignore[no-untyped-call]


def psnr_db(clean: Floats, restored: Floats) -> float:
    """The mean of psnr_by_image_db."""
    return float(psnr_by_image_db(clean, restored).mean())


def ssim(clean: Floats, restored: Floats) -> float:
    """The mean of ssim_by_image."""
    return float(ssim_by_image(clean, restored).mean())


def _reference(model: Model) -> Statistics:
    arrays = model.arrays("calibration.npz")
    return Statistics(*(arrays[name].astype(np.float64) for name in ("feature_mean", "feature_covariance")))
