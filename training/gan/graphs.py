"""The three graphs of a GAN as they are exported: map, synthesise, discriminate."""

import torch
from torch import Tensor, nn

from training.gan.model import Critic, Generator

STYLE_DRAWS = 4096  # latents per class, for the mean style


class Map(nn.Module):
    """z [B, latent], label [B], truncation [B] in [0, 1] -> w [B, style], drawn towards the mean style of its class.

    w = mean + truncation (f(z, label) - mean): the truncation trick in style space (Karras et al. 2019,
    arXiv:1812.04948, appendix B).
    """

    style_mean: Tensor

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator
        self.register_buffer("style_mean", mean_styles(generator))

    def forward(self, z: Tensor, label: Tensor, truncation: Tensor) -> Tensor:
        mean = self.style_mean[label]
        w: Tensor = mean + truncation[:, None] * (self.generator.map(z, label) - mean)
        return w


class Synthesise(nn.Module):
    """w [B, style], label [B] -> image [B, 1, 28, 28] in [0, 1]."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, w: Tensor, label: Tensor) -> Tensor:
        return ((self.generator.synthesise(w, label) + 1) / 2).clamp(0, 1)


class Discriminate(nn.Module):
    """image [B, 1, 28, 28] in [0, 1], label [B] -> logit [B], less the constant `origin`."""

    def __init__(self, critic: Critic, origin: float) -> None:
        super().__init__()
        self.critic = critic
        self.origin = origin

    def forward(self, image: Tensor, label: Tensor) -> Tensor:
        logit: Tensor = self.critic(2 * image - 1, label)
        return logit - self.origin


@torch.no_grad()
def mean_styles(generator: Generator) -> Tensor:
    """E_z f(z, label) of each class: [classes, style]."""
    z = torch.randn(STYLE_DRAWS, generator.latent_size, generator=torch.Generator().manual_seed(0))
    labels = (torch.full((STYLE_DRAWS,), label) for label in range(generator.classes))
    return torch.stack([generator.map(z, label).mean(dim=0) for label in labels])
