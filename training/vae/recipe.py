"""vae-fashion and vae-shuttle: data, configuration, metrics and pictures of the two variational autoencoders."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model_store.manifest import VaeParams
from training.data import SHUTTLE_COLUMNS, Data, fashion, shuttle, toy_images, toy_table
from training.evaluate import Scorer
from training.loop import LoopConfig
from training.publish import Artefacts, compare_columns, image_grid
from training.strangers import DIGITS, digits, distorted
from training.vae.base import VaeRecipe
from training.vae.description import FASHION, SHUTTLE
from training.vae.measure import ExportedVae, detection_metrics, likelihood_metrics
from training.vae.model import Vae, image_vae, table_vae

LEVELS = 256
FASHION_CONFIG = LoopConfig(
    steps=3200, batch_size=64, learning_rate=2e-3, gradient_clip=5.0, ema_decay=0.995, checkpoint_every=200
)
SHUTTLE_CONFIG = LoopConfig(
    steps=20_000, batch_size=256, learning_rate=2e-3, gradient_clip=5.0, checkpoint_every=1000, log_every=500
)


@dataclass(frozen=True)
class FashionVaeRecipe(VaeRecipe):
    """A convolutional autoencoder of Fashion-MNIST."""

    name: str = "vae-fashion"
    config: LoopConfig = FASHION_CONFIG
    latent_size: int = 64
    components: int = 5
    warmup_steps: int = 400
    decode_atol: float = 1e-3
    channels: tuple[int, int] = (32, 64)

    def quick(self) -> Self:
        return replace(super().quick(), latent_size=8, components=2, channels=(8, 8))

    def load(self, folder: Path) -> Data:
        data = toy_images() if self.toy else fashion(folder)
        strangers = distorted(data.test[0][: self.effort.strangers])
        if self.toy:
            return replace(data, strangers=strangers)
        sources = {**data.provenance, **DIGITS.provenance()}
        chosen = torch.randperm(10_000, generator=torch.Generator().manual_seed(0))[: self.effort.strangers]
        return replace(data, strangers={"digits": digits(folder)[chosen], **strangers}, provenance=sources)

    def wire(self, rows: Tensor) -> Tensor:
        return rows.float() / (LEVELS - 1)

    def network(self, data: Data) -> Vae:
        return image_vae(self.latent_size, self.components, self.channels, LEVELS)

    def artefacts(self, graphs: ExportedVae, data: Data) -> Artefacts:
        test, held_out = (self.wire(part[0]).numpy() for part in (data.test, data.held_out))
        pixels = data.train[0].double() / (LEVELS - 1)
        means, draws = graphs.sample(self.effort.samples)
        return Artefacts(
            graphs=graphs.by_name(),
            params=VaeParams(event_shape=test.shape[1:], levels=LEVELS, latent_size=self.latent_size),
            metrics={**self._bounds(graphs, test, data), **_sample_metrics(means, draws)},
            calibration={
                **graphs.measure(held_out).calibration(),
                "pixel_mean": pixels.mean(0).float().numpy(),
                "pixel_std": pixels.std(0).float().numpy(),
            },
            samples=_picture(graphs, test, means, draws),
            description=FASHION,
            goldens={},
        )

    def _bounds(self, graphs: ExportedVae, test: NDArray[np.float32], data: Data) -> dict[str, float]:
        entries, some, tested = test[0].size, slice(self.effort.iwae_rows), graphs.measure(test)
        iwae = graphs.iwae_nats(test[some], self.effort.iwae_draws)
        strangers = {name: graphs.measure(self.wire(rows).numpy()) for name, rows in data.strangers.items()}
        return {
            **likelihood_metrics(tested, entries),
            **detection_metrics(tested, strangers),
            f"elbo_first_{len(iwae)}_test_bits_per_dim": float(-tested.elbo[some].mean() / entries / np.log(2)),
            f"iwae_{self.effort.iwae_draws}_first_{len(iwae)}_test_bits_per_dim": float(
                -iwae.mean() / entries / np.log(2)
            ),
            "active_latents": graphs.active_latents(test),
        }


@dataclass(frozen=True)
class ShuttleVaeRecipe(VaeRecipe):
    """A fully connected autoencoder of the normal rows of Statlog Shuttle."""

    name: str = "vae-shuttle"
    config: LoopConfig = SHUTTLE_CONFIG
    latent_size: int = 8
    components: int = 4
    warmup_steps: int = 1000
    decode_atol: float = 1e-2
    hidden: int = 128

    def quick(self) -> Self:
        return replace(super().quick(), latent_size=4, components=2, hidden=16)

    def load(self, folder: Path) -> Data:
        return toy_table() if self.toy else shuttle(folder)

    def wire(self, rows: Tensor) -> Tensor:
        return rows

    def network(self, data: Data) -> Vae:
        return table_vae(data.train[0], self.latent_size, self.components, self.hidden)

    def artefacts(self, graphs: ExportedVae, data: Data) -> Artefacts:
        rows, outlier = (part.numpy() for part in data.test)
        held_out, tested = data.held_out[0].numpy(), graphs.measure(rows)
        normals = rows[~outlier][: self.effort.iwae_rows]
        _, draws = graphs.sample(len(held_out))
        return Artefacts(
            graphs=graphs.by_name(),
            params=VaeParams(event_shape=rows.shape[1:], columns=SHUTTLE_COLUMNS, latent_size=self.latent_size),
            metrics={
                **likelihood_metrics(tested[~outlier], rows.shape[1]),
                **detection_metrics(tested[~outlier], {"outliers": tested[outlier]}),
                f"elbo_first_{len(normals)}_test_nats": float(tested[~outlier].elbo[: len(normals)].mean()),
                f"iwae_{self.effort.iwae_draws}_first_{len(normals)}_test_nats": float(
                    graphs.iwae_nats(normals, self.effort.iwae_draws).mean()
                ),
                "active_latents": graphs.active_latents(rows[~outlier]),
            },
            calibration=graphs.measure(held_out).calibration(),
            samples=compare_columns(held_out, draws, SHUTTLE_COLUMNS),
            description=SHUTTLE,
            goldens={},
        )


def _sample_metrics(means: NDArray[np.float32], draws: NDArray[np.float32]) -> dict[str, float]:
    """FD-fmnist of expected images and of draws: pixels drawn apart are noisy, expected ones blurred."""
    scorer = Scorer()
    return {
        f"fd_fmnist_{len(means)}_means": scorer.fd_fmnist(means),
        f"fd_fmnist_{len(draws)}_draws": scorer.fd_fmnist(draws),
        "fd_fmnist_floor": scorer.floor,
    }


def _picture(
    graphs: ExportedVae, test: NDArray[np.float32], means: NDArray[np.float32], draws: NDArray[np.float32]
) -> bytes:
    """Rows of ten: test images over their reconstructions, then expected samples and draws."""
    shown = test[:20]
    again = graphs.reconstruct(shown)
    rows = (shown[:10], again[:10], shown[10:], again[10:], means[:30], draws[:30])
    return image_grid(np.concatenate(rows), columns=10)
