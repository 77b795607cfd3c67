"""The networks: an encoder to a Gaussian posterior and a decoder to a mixture likelihood, for images and tables."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.stable import log
from training.vae.likelihood import Cells, Mixture, mixture

LOG_STD_MIN, LOG_STD_MAX = -7.0, 3.0


class Posterior(NamedTuple):
    """q(z | x) = N(mean, diag(exp(log_std))^2); both [B, D]."""

    mean: Tensor
    log_std: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """z [B, D] of standard normal noise: the reparametrisation of Kingma and Welling 2014, arXiv:1312.6114."""
        return self.mean + torch.exp(self.log_std) * noise


class Vae(nn.Module):
    """An encoder, standardised x -> [B, 2 D], and a decoder, z [B, D] -> [B, 3 K, *event], with their data's cells.

    `trained_steps` counts training steps, for the warm-up of the KL term.
    """

    trained_steps: Tensor

    def __init__(
        self, encoder: nn.Module, decoder: nn.Module, cells: Cells, *, latent_size: int, components: int
    ) -> None:
        super().__init__()
        self.encoder, self.decoder, self.cells = encoder, decoder, cells
        self.latent_size, self.components = latent_size, components
        self.register_buffer("trained_steps", torch.zeros((), dtype=torch.int64))

    def posterior(self, x: Tensor) -> Posterior:
        """q(z | x) of x [B, *event] on the wire."""
        mean, log_std = self.encoder(self.cells.standardise(x)).chunk(2, dim=1)
        return Posterior(mean, log_std.clamp(LOG_STD_MIN, LOG_STD_MAX))

    def likelihood(self, z: Tensor) -> Mixture:
        """p(x | z) of latents [B, D]."""
        return mixture(self.decoder(z), self.components)


def image_vae(latent_size: int, components: int, channels: tuple[int, int], levels: int = 256) -> Vae:
    """A convolutional autoencoder of images [B, 1, 28, 28]: `channels` at 14x14 and at 7x7."""
    half, quarter = channels
    encoder = nn.Sequential(
        nn.Conv2d(1, half, 4, stride=2, padding=1),  # 28 -> 14
        Residual(half),
        nn.Conv2d(half, quarter, 4, stride=2, padding=1),  # 14 -> 7
        Residual(quarter),
        nn.SiLU(),
        nn.Flatten(),
        nn.Linear(quarter * 49, 2 * latent_size),
    )
    decoder = nn.Sequential(
        nn.Linear(latent_size, quarter * 49),
        nn.Unflatten(1, (quarter, 7, 7)),
        Residual(quarter),
        nn.Upsample(scale_factor=2),
        nn.Conv2d(quarter, half, 3, padding=1),
        Residual(half),
        Residual(half),
        nn.Conv2d(half, 4 * half, 1),
        nn.PixelShuffle(2),  # -> half x 28 x 28
        nn.SiLU(),
        nn.Conv2d(half, 3 * components, 3, padding=1),
        Entries(components, (28, 28)),
        nn.Unflatten(1, (3 * components, 1)),  # -> [B, 3 K, 1, 28, 28]
    )
    middle = torch.full((1, 28, 28), 0.5)
    return Vae(encoder, decoder, Cells(levels, middle, middle), latent_size=latent_size, components=components)


def table_vae(rows: Tensor, latent_size: int, components: int, hidden: int) -> Vae:
    """A fully connected autoencoder of rows of integers [B, columns].

    `rows` fix the standardisation: the median, and the distance of the 5 % and 95 % quantiles, which a few huge
    outliers do not move (at least 1).
    """
    columns = rows.shape[1]
    quantiles = torch.tensor([0.05, 0.5, 0.95], dtype=torch.float64)
    low, middle, high = torch.quantile(rows.double(), quantiles, dim=0).to(rows)
    encoder = nn.Sequential(SignedLog(), *_perceptron(columns, hidden, 2 * latent_size))
    decoder = nn.Sequential(
        *_perceptron(latent_size, hidden, 3 * components * columns),
        nn.Unflatten(1, (3 * components, columns)),
        Entries(components, (columns,)),
    )
    cells = Cells(None, middle, ((high - low) / 4).clamp(min=1.0))
    return Vae(encoder, decoder, cells, latent_size=latent_size, components=components)


class Residual(nn.Module):
    """x + two convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.norms = nn.ModuleList(nn.GroupNorm(4, channels) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.norms
        h = self.first(functional.silu(first(x)))
        residue: Tensor = self.second(functional.silu(second(h)))
        return x + residue


class Entries(nn.Module):
    """Adds a learned number per entry and component: margins differ from the middle, columns from each other.

    The components' means begin spread over [-1, 1], for equal components would learn as one.
    """

    def __init__(self, components: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        start = torch.zeros(3, components, *shape)
        start[1] += torch.linspace(-1, 1, components).reshape(-1, *(1 for _ in shape))
        start[2] -= 2
        self.bias = nn.Parameter(start.flatten(0, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bias


class SignedLog(nn.Module):
    """sign(x) log(1 + |x|): keeps far entries of a row within the reach of a network."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.sign(x) * log(1 + torch.abs(x))


def _perceptron(inputs: int, hidden: int, outputs: int) -> tuple[nn.Module, ...]:
    return (
        nn.Linear(inputs, hidden),
        nn.SiLU(),
        nn.Linear(hidden, hidden),
        nn.SiLU(),
        nn.Linear(hidden, outputs),
    )
