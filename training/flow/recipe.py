"""flow-shuttle and flow-fashion: data, configuration, metrics and pictures of the two normalizing flows."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from model_store.manifest import FlowParams
from training.data import SHUTTLE_COLUMNS, Data, fashion, shuttle, toy_images, toy_table
from training.evaluate import Scorer
from training.export import Exported, GraphSource
from training.flow.base import FlowRecipe
from training.flow.chain import Chain
from training.flow.description import FASHION, SHUTTLE
from training.flow.measure import ExportedFlow
from training.flow.model import ImageShape, TableShape, image_flow, spline_flow
from training.loop import LoopConfig
from training.publish import Artefacts, compare_columns, image_grid

SHUTTLE_CONFIG = LoopConfig(
    steps=8000, batch_size=256, learning_rate=2e-3, gradient_clip=3.0, checkpoint_every=500, log_every=100
)
FASHION_CONFIG = LoopConfig(
    steps=6000, batch_size=32, learning_rate=3e-3, gradient_clip=10.0, checkpoint_every=250, log_every=50
)


@dataclass(frozen=True)
class ShuttleRecipe(FlowRecipe):
    """A neural spline flow on the normal rows of Statlog Shuttle."""

    name: str = "flow-shuttle"
    config: LoopConfig = SHUTTLE_CONFIG
    levels: int | None = None
    forward_atol: float = 1e-4
    inverse_atol: float = 1e-4
    precision: torch.dtype = torch.float64  # a density of integers is steep: float32 loses 1e-4 nats and more
    shape: TableShape = field(default_factory=TableShape)

    def quick(self) -> Self:
        return replace(super().quick(), shape=TableShape(steps=2, hidden=16))

    def load(self, folder: Path) -> Data:
        return toy_table() if self.toy else shuttle(folder)

    def wire(self, rows: Tensor) -> Tensor:
        return rows

    def flow(self, x: Tensor) -> Chain:
        return spline_flow(x, self.shape)

    def artefacts(self, graphs: ExportedFlow, data: Data) -> Artefacts:
        rows, outlier = (part.numpy() for part in data.test)
        tested, held_out = graphs.measure(rows), graphs.measure(data.held_out[0].numpy())
        return Artefacts(
            graphs=graphs.by_name(),
            params=FlowParams(event_shape=rows.shape[1:], columns=SHUTTLE_COLUMNS, layers=graphs.layers),
            metrics={
                **self.figures(tested[~outlier], rows.shape[1]),
                "auroc_outliers": float(roc_auc_score(outlier, -tested.log_prob_nats)),
            },
            calibration={"log_prob_held_out": np.sort(held_out.log_prob_nats)},
            samples=compare_columns(data.held_out[0].numpy(), graphs.sample(len(data.held_out[0])), SHUTTLE_COLUMNS),
            description=SHUTTLE,
            goldens={},
        )

    def twins(self, forward: GraphSource, inverse: GraphSource) -> Mapping[str, Mapping[str, Exported]]:
        return {"torchscript": {source.name: source.torchscript() for source in (forward, inverse)}}


@dataclass(frozen=True)
class FashionRecipe(FlowRecipe):
    """A multi-scale coupling flow on Fashion-MNIST."""

    name: str = "flow-fashion"
    config: LoopConfig = FASHION_CONFIG
    levels: int | None = 256
    forward_atol: float = 2e-2
    inverse_atol: float = 1e-3
    shape: ImageShape = field(default_factory=ImageShape)

    def quick(self) -> Self:
        return replace(super().quick(), shape=ImageShape(steps=(2, 1), hidden=(8, 8)))

    def load(self, folder: Path) -> Data:
        return toy_images() if self.toy else fashion(folder)

    def wire(self, rows: Tensor) -> Tensor:
        return rows.float() / 255

    def flow(self, x: Tensor) -> Chain:
        return image_flow(x.shape[1], x.shape[2], self.shape)

    def artefacts(self, graphs: ExportedFlow, data: Data) -> Artefacts:
        test, held_out = (self.wire(part[0]).numpy() for part in (data.test, data.held_out))
        pixels, samples, scorer = data.train[0].double() / 255, graphs.sample(len(test)), Scorer()
        return Artefacts(
            graphs=graphs.by_name(),
            params=FlowParams(event_shape=test.shape[1:], levels=self.levels, layers=graphs.layers),
            metrics={
                **self.figures(graphs.measure(test), test[0].size),
                "fd_fmnist_samples": scorer.fd_fmnist(samples),
                "fd_fmnist_floor": scorer.floor,
            },
            calibration={
                "log_prob_held_out": np.sort(graphs.measure(held_out).log_prob_nats),
                "pixel_mean": pixels.mean(0).float().numpy(),
                "pixel_std": pixels.std(0).float().numpy(),
            },
            samples=image_grid(samples[:100], columns=10),
            description=FASHION,
            scored_by=scorer.provenance,
            goldens={},
        )
