"""diffusion-fashion: trains, measures and exports a class-conditional denoiser of Fashion-MNIST."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from training.data import FASHION_CLASSES, Data, fashion, toy_images
from training.diffusion.model import Denoiser
from training.diffusion.objective import denoising_loss
from training.loop import LoopConfig
from training.publish import Artefacts

CONFIG = LoopConfig(steps=2600, batch_size=64, learning_rate=1e-3, checkpoint_every=200, seed=0)


@dataclass(frozen=True)
class DiffusionRecipe:
    """EDM (Karras et al. 2022, arXiv:2206.00364) with a tenth of the labels dropped for classifier-free guidance."""

    name: str = "diffusion-fashion"
    config: LoopConfig = CONFIG
    channels: int = 32
    toy: bool = False

    def quick(self) -> "DiffusionRecipe":
        config = replace(self.config, steps=20, batch_size=8, warmup_steps=5, checkpoint_every=10, log_every=10)
        return replace(self, config=config, channels=8, toy=True)

    def load(self, folder: Path) -> Data:
        return toy_images() if self.toy else fashion(folder)

    def network(self, data: Data) -> nn.Module:
        denoiser = Denoiser(len(FASHION_CLASSES), self.channels, sigma_data=float(scaled(data.train[0]).std()))
        # Channels last is a tenth faster; torch's annotations do not know the argument.
        return cast(nn.Module, denoiser.to(memory_format=torch.channels_last))  # type: ignore[call-overload]

    def loss(self, network: nn.Module, batch: tuple[Tensor, ...], generator: torch.Generator) -> Tensor:
        images, labels = batch
        return denoising_loss(cast(Denoiser, network), scaled(images), labels, generator)

    def finish(self, network: nn.Module, data: Data) -> Artefacts:
        raise NotImplementedError


def scaled(images: Tensor) -> Tensor:
    """uint8 -> float32 in [-1, 1]."""
    return images.float() / 127.5 - 1
