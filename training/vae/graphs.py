"""The three graphs of a variational autoencoder as they are exported: encode, elbo, decode."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from training.vae.likelihood import draw, mean
from training.vae.model import Vae
from training.vae.objective import Bound, bound


class Encoded(NamedTuple):
    """What `encode` returns: the posterior of each latent."""

    mean: Tensor  # [B, D]
    std: Tensor  # [B, D]


class Decoded(NamedTuple):
    """What `decode` returns, on the wire."""

    mean: Tensor  # [B, *event], the expected value
    sample: Tensor  # [B, *event], a draw


class Encode(nn.Module):
    """x [B, *event] -> Encoded."""

    def __init__(self, vae: Vae) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, x: Tensor) -> Encoded:
        posterior = self.vae.posterior(x)
        return Encoded(posterior.mean, torch.exp(posterior.log_std))


class Elbo(nn.Module):
    """x [B, *event] and standard normal noise [B, D] -> Bound."""

    def __init__(self, vae: Vae) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, x: Tensor, noise: Tensor) -> Bound:
        return bound(self.vae, x, noise)


class Decode(nn.Module):
    """Latents z [B, D] and uniform noise [B, *event] -> Decoded."""

    def __init__(self, vae: Vae) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, z: Tensor, noise: Tensor) -> Decoded:
        parts, cells = self.vae.likelihood(z), self.vae.cells
        return Decoded(mean(parts, cells), cells.quantise(draw(parts, noise)))
