"""vae-fashion and vae-shuttle: configurations, graphs and metrics of the two variational autoencoders."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self, cast

import torch
from torch import Tensor, nn

from training.data import Data, fashion, shuttle, toy_images, toy_table
from training.loop import LoopConfig
from training.publish import Artefacts
from training.vae.model import Vae, image_vae, table_vae
from training.vae.objective import negative_elbo

FASHION_CONFIG = LoopConfig(
    steps=3200, batch_size=64, learning_rate=2e-3, gradient_clip=5.0, ema_decay=0.995, checkpoint_every=200
)
SHUTTLE_CONFIG = LoopConfig(
    steps=20_000, batch_size=256, learning_rate=2e-3, gradient_clip=5.0, checkpoint_every=1000, log_every=500
)


@dataclass(frozen=True)
class VaeRecipe(ABC):
    """The ELBO of integer-valued events under a mixture of discretised logistics; `toy` needs no download."""

    name: str
    config: LoopConfig
    latent_size: int
    components: int
    warmup_steps: int
    toy: bool = False

    @abstractmethod
    def load(self, folder: Path) -> Data: ...

    @abstractmethod
    def wire(self, rows: Tensor) -> Tensor:
        """Rows of the data set as they come over the wire, float32."""

    @abstractmethod
    def network(self, data: Data) -> Vae: ...

    def quick(self) -> Self:
        config = replace(self.config, steps=30, batch_size=32, warmup_steps=5, checkpoint_every=10, log_every=10)
        return replace(self, config=config, warmup_steps=10, toy=True)

    def loss(self, network: nn.Module, batch: tuple[Tensor, ...], generator: torch.Generator) -> Tensor:
        x = self.wire(batch[0])
        noise = torch.randn(len(x), self.latent_size, generator=generator)
        return negative_elbo(cast(Vae, network), x, noise, self.warmup_steps).mean()

    def finish(self, network: nn.Module, data: Data) -> Artefacts:
        raise NotImplementedError


@dataclass(frozen=True)
class FashionVaeRecipe(VaeRecipe):
    """A convolutional autoencoder of Fashion-MNIST."""

    name: str = "vae-fashion"
    config: LoopConfig = FASHION_CONFIG
    latent_size: int = 64
    components: int = 5
    warmup_steps: int = 400
    channels: tuple[int, int] = (32, 64)

    def quick(self) -> Self:
        return replace(super().quick(), latent_size=8, components=2, channels=(8, 8))

    def load(self, folder: Path) -> Data:
        return toy_images() if self.toy else fashion(folder)

    def wire(self, rows: Tensor) -> Tensor:
        return rows.float() / 255

    def network(self, data: Data) -> Vae:
        return image_vae(self.latent_size, self.components, self.channels)


@dataclass(frozen=True)
class ShuttleVaeRecipe(VaeRecipe):
    """A fully connected autoencoder of the normal rows of Statlog Shuttle."""

    name: str = "vae-shuttle"
    config: LoopConfig = SHUTTLE_CONFIG
    latent_size: int = 8
    components: int = 4
    warmup_steps: int = 1000
    hidden: int = 128

    def quick(self) -> Self:
        return replace(super().quick(), latent_size=4, components=2, hidden=16)

    def load(self, folder: Path) -> Data:
        return toy_table() if self.toy else shuttle(folder)

    def wire(self, rows: Tensor) -> Tensor:
        return rows

    def network(self, data: Data) -> Vae:
        return table_vae(data.train[0], self.latent_size, self.components, self.hidden)
