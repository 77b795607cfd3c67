"""The denoiser D(x, sigma, label): EDM preconditioning around a small U-Net with attention at 7x7."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

GROUPS = 8
FREQUENCIES = 32  # sine and cosine rows of a multiple of 16 elements are row-stable as they are


class Preconditioning(NamedTuple):
    """The coefficients of Karras et al. 2022 (arXiv:2206.00364), Table 1, row "Network and preconditioning"."""

    skip: Tensor
    out: Tensor
    into: Tensor

    @classmethod
    def at(cls, sigma: Tensor, sigma_data: float) -> "Preconditioning":
        """Coefficients for noise levels of any shape, for data of standard deviation `sigma_data`."""
        total = (sigma**2 + sigma_data**2).sqrt()
        return cls(skip=sigma_data**2 / total**2, out=sigma * sigma_data / total, into=1 / total)


class Denoiser(nn.Module):
    """The expected clean image given a noisy one: D(x, sigma) = c_skip x + c_out F(c_in x, log(sigma)/4), eq. 7.

    x float32 [B, C, H, W] = image in [-1, 1] plus noise; sigma and log_sigma float32 [B]; label int64 [B], where
    label = classes means "no class". log_sigma is an input because a logarithm of a [B] tensor is not row-stable.
    """

    def __init__(self, classes: int, channels: int, sigma_data: float, image_channels: int = 1) -> None:
        super().__init__()
        self.classes, self.sigma_data = classes, sigma_data
        self.network = UNet(classes, channels, image_channels)

    def forward(self, x: Tensor, sigma: Tensor, log_sigma: Tensor, label: Tensor) -> Tensor:
        c = Preconditioning.at(sigma[:, None, None, None], self.sigma_data)
        estimate: Tensor = self.network(c.into * x, log_sigma / 4, label)
        return c.skip * x + c.out * estimate


class UNet(nn.Module):
    """28 -> 14 -> 7 -> 14 -> 28 with widths (1, 2, 2) x channels, one residual block per level and direction."""

    def __init__(self, classes: int, channels: int, image_channels: int) -> None:
        super().__init__()
        narrow, wide = channels, 2 * channels
        self.embedding = Embedding(classes, 4 * channels)
        self.into = nn.Conv2d(image_channels, narrow, 3, padding=1)
        self.down28 = Residual(narrow, narrow, 4 * channels)
        self.down14 = Residual(narrow, wide, 4 * channels)
        self.down7 = Residual(wide, wide, 4 * channels)
        self.attention = Attention(wide)
        self.middle = Residual(wide, wide, 4 * channels)
        self.up7 = Residual(2 * wide, wide, 4 * channels)
        self.up14 = Residual(2 * wide, wide, 4 * channels)
        self.up28 = Residual(wide + narrow, narrow, 4 * channels)
        self.out = nn.Sequential(
            nn.GroupNorm(GROUPS, narrow), nn.SiLU(), _zero(nn.Conv2d(narrow, image_channels, 3, padding=1))
        )

    def forward(self, x: Tensor, noise_level: Tensor, label: Tensor) -> Tensor:
        condition = self.embedding(noise_level, label)  # (B, E)
        fine = self.down28(self.into(x), condition)  # (B, c, 28, 28)
        half = self.down14(functional.avg_pool2d(fine, 2), condition)  # (B, 2c, 14, 14)
        quarter = self.down7(functional.avg_pool2d(half, 2), condition)  # (B, 2c, 7, 7)
        deep = self.middle(self.attention(quarter), condition)
        deep = self.up7(torch.cat((deep, quarter), dim=1), condition)
        deep = self.up14(torch.cat((_double(deep), half), dim=1), condition)
        image: Tensor = self.out(self.up28(torch.cat((_double(deep), fine), dim=1), condition))
        return image


class Embedding(nn.Module):
    """Noise level [B] and label [B] -> one vector [B, E] that conditions every block."""

    frequencies: Tensor

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.register_buffer("frequencies", math.pi * torch.logspace(-3, 3, FREQUENCIES, base=2.0), persistent=False)
        self.noise = nn.Linear(2 * FREQUENCIES, width)
        self.label = nn.Embedding(classes + 1, width)
        self.mix = nn.Linear(width, width)

    def forward(self, noise_level: Tensor, label: Tensor) -> Tensor:
        angles = noise_level[:, None] * self.frequencies  # (B, 32)
        waves = torch.cat((angles.sin(), angles.cos()), dim=1)
        return functional.silu(self.mix(functional.silu(self.noise(waves) + self.label(label))))


class Residual(nn.Module):
    """GroupNorm, SiLU, convolution, twice; the condition scales and shifts between (FiLM)."""

    def __init__(self, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.GroupNorm(GROUPS, inputs), nn.SiLU(), nn.Conv2d(inputs, outputs, 3, padding=1))
        self.norm = nn.GroupNorm(GROUPS, outputs)
        self.condition = nn.Linear(width, 2 * outputs)
        self.second = _zero(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        scale, shift = self.condition(condition)[:, :, None, None].chunk(2, dim=1)
        hidden = self.norm(self.first(x)) * (1 + scale) + shift
        change: Tensor = self.second(functional.silu(hidden))
        return torch.add(change, self.skip(x))


class Attention(nn.Module):
    """Self-attention over the positions of a feature map."""

    def __init__(self, channels: int, heads: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = _zero(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        size = (x.shape[0], 3 * self.heads, x.shape[1] // self.heads, x.shape[2] * x.shape[3])
        q, k, v = self.qkv(self.norm(x)).reshape(size).transpose(2, 3).chunk(3, dim=1)  # each (B, heads, H W, d)
        mixed = functional.scaled_dot_product_attention(q, k, v)
        change: Tensor = self.out(mixed.transpose(2, 3).reshape(x.shape))
        return x + change


def _double(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="nearest")


def _zero(layer: nn.Conv2d) -> nn.Conv2d:
    """A layer that starts at zero, so that its block starts as the identity."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
