"""classifier-fashion: trains, measures and exports the classifier behind FD-fmnist."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.checks import runner
from training.data import FASHION_CLASSES, Data, fashion, toy_images
from training.evaluate import CLASSIFIER, ClassifierParams, Statistics, accuracy, classify, frechet_distance
from training.export import Exported, GraphSource, record
from training.loop import LoopConfig
from training.metrics.model import Classifier
from training.publish import Artefacts, Description, image_grid

CONFIG = LoopConfig(steps=4000, batch_size=128, learning_rate=2e-3, checkpoint_every=500)


@dataclass(frozen=True)
class ClassifierRecipe:
    """Cross-entropy with random horizontal flips; the last features before the logits are what FD-fmnist compares."""

    name: str = CLASSIFIER
    config: LoopConfig = CONFIG
    toy: bool = False

    def quick(self) -> "ClassifierRecipe":
        config = replace(self.config, steps=30, batch_size=16, warmup_steps=5, checkpoint_every=10, log_every=10)
        return replace(self, config=config, toy=True)

    def load(self, folder: Path) -> Data:
        return toy_images() if self.toy else fashion(folder)

    def network(self, data: Data) -> nn.Module:
        return Classifier(len(FASHION_CLASSES))

    def loss(self, network: nn.Module, batch: tuple[Tensor, ...], generator: torch.Generator) -> Tensor:
        images, labels = batch
        flipped = torch.rand(len(images), 1, 1, 1, generator=generator) < 0.5
        _, logits = network(torch.where(flipped, images.flip(3), images) / 255)
        return nn.functional.cross_entropy(logits, labels)

    def finish(self, network: nn.Module, data: Data) -> Artefacts:
        graph = GraphSource("classify", network, _example, ("features", "logits"), atol=1e-4).onnx()
        trained, held_out, tested = (_measure(graph, *part) for part in (data.train, data.held_out, data.test))
        images = data.test[0].numpy() / 255
        return Artefacts(
            graphs={"classify": graph},
            params=ClassifierParams(image_shape=(1, 28, 28), classes=FASHION_CLASSES),
            metrics={
                "accuracy_test": tested.accuracy,
                "accuracy_held_out": held_out.accuracy,
                "fd_fmnist_floor": frechet_distance(tested.statistics, trained.statistics),
            },
            goldens={"classify": record(graph, {"x": (data.test[0][:3] / 255).float()})},
            calibration={
                "feature_mean": trained.statistics.mean,
                "feature_covariance": trained.statistics.covariance,
            },
            samples=image_grid(images[np.argsort(tested.predicted[:100], kind="stable")], columns=10),
            description=DESCRIPTION,
        )


@dataclass(frozen=True)
class _Measured:
    statistics: Statistics
    accuracy: float
    predicted: NDArray[np.int64]


def _measure(graph: Exported, images: Tensor, labels: Tensor) -> _Measured:
    features, logits = classify(runner(graph.data, graph.spec), images.numpy() / np.float32(255))
    return _Measured(Statistics.of(features), accuracy(logits, labels.numpy()), logits.argmax(axis=1))


def _example(batch: int) -> dict[str, Any]:
    return {"x": torch.rand(batch, 1, 28, 28, generator=torch.Generator().manual_seed(batch))}


DESCRIPTION = Description(
    summary="The classifier behind FD-fmnist: the Frechet distance of generated images to the Fashion-MNIST training "
    "set, in the features of its last hidden layer. The picture shows 100 test images in the order of the class it "
    "gives them.",
    data="Fashion-MNIST: 55,000 images to train, 5,000 held out, 10,000 to test.",
    intended_use="Scoring generative models of Fashion-MNIST against each other. `fd_fmnist_floor` is the distance of "
    "the 10,000 test images to the training set: no model can be told from the data below it. calibration.npz holds "
    "the mean and the covariance of the training features.",
    limits="Not an Inception network: FD-fmnist is comparable only with figures of this very file (its sha256), not "
    "with any published FID. It is not served.",
)
