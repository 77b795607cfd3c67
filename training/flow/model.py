"""The two flows: a neural spline flow for tables, a multi-scale coupling flow for images."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.flow.chain import Bijection, Chain, FirstHalf, Squeezed
from training.flow.coupling import AffineCoupling, SplineCoupling
from training.flow.transforms import ActNorm, Affine, Asinh, FixedMixing, Logit, Mixing


@dataclass(frozen=True)
class TableShape:
    """Size of a neural spline flow."""

    steps: int = 6
    hidden: int = 96
    bins: int = 11  # 3 * 11 - 1 = 32 outputs per column: a tail would make torch's products depend on the threads
    bound: float = 6.0


@dataclass(frozen=True)
class ImageShape:
    """Size of a multi-scale flow: coupling steps and hidden channels at each scale, finest first."""

    steps: tuple[int, ...] = (8, 8)
    hidden: tuple[int, ...] = (32, 64)


class Position(nn.Module):
    """Adds a learned map: a convolution alone cannot know that the margins of these images are empty."""

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self.map = nn.Parameter(torch.zeros(channels, side, side))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.map


def spline_flow(rows: Tensor, shape: TableShape) -> Chain:
    """A neural spline flow (Durkan et al. 2019, arXiv:1906.04032) on rows of numbers [B, columns].

    `rows` fix the standardisation: the median, and the distance of the 5 % and 95 % quantiles, which a few huge
    outliers do not move (at least 1).
    """
    columns = rows.shape[1]
    low, middle, high = torch.quantile(rows.double(), torch.tensor([0.05, 0.5, 0.95], dtype=torch.float64), dim=0).to(
        rows
    )
    steps = {f"step-{index + 1}": _spline_step(columns, index, shape) for index in range(shape.steps)}
    scale = ((high - low) / 4).clamp(min=1.0)
    return Chain({"standardisation": Affine(middle + 0.5, scale), "asinh": Asinh(), **steps})


def image_flow(channels: int, side: int, shape: ImageShape) -> Chain:
    """A multi-scale flow of affine couplings on images [B, C, side, side] in [0, 1]; 2 ** scales divides the side.

    RealNVP (Dinh et al. 2017, arXiv:1605.08803) with Glow's steps (Kingma and Dhariwal 2018, arXiv:1807.03039).
    """
    return Chain({"logit": Logit(), "": _scale(channels, side, shape, 0)})


def fixed(flow: Bijection) -> Bijection:
    """The flow for export, in place: matrices and their inverses become constants."""
    for module in list(flow.modules()):
        for name, child in module.named_children():
            if isinstance(child, Mixing):
                setattr(module, name, FixedMixing(child))
    return flow


def _scale(channels: int, side: int, shape: ImageShape, index: int) -> Bijection:
    """Steps on the 2x2 blocks of [B, channels, side, side], and the coarser scales on half of the channels."""
    width, half, hidden = 4 * channels, side // 2, shape.hidden[index]
    layers: dict[str, Bijection] = {
        f"scale-{index + 1}/step-{step + 1}": _affine_step(width, step, hidden, half)
        for step in range(shape.steps[index])
    }
    if index + 1 < len(shape.steps):
        layers[""] = FirstHalf(_scale(width // 2, half, shape, index + 1))
    return Squeezed(Chain(layers))


def _affine_step(channels: int, index: int, hidden: int, side: int) -> Chain:
    flipped = index % 2 == 1
    conditioner = nn.Sequential(
        nn.Conv2d(channels // 2, hidden, 3, padding=1),
        Position(hidden, side),
        nn.ReLU(),
        nn.Conv2d(hidden, hidden, 1),
        nn.ReLU(),
        _silent(nn.Conv2d(hidden, channels, 3, padding=1)),
    )
    coupling = AffineCoupling(channels, conditioner, flipped)
    return Chain({"actnorm": ActNorm(channels), "mixing": Mixing(_rotation(channels)), "coupling": coupling})


def _spline_step(columns: int, index: int, shape: TableShape) -> Chain:
    flipped = index % 2 == 1
    half = columns // 2
    unchanged, changed = (columns - half, half) if flipped else (half, columns - half)
    conditioner = nn.Sequential(
        nn.Linear(unchanged, shape.hidden),
        nn.ReLU(),
        nn.Linear(shape.hidden, shape.hidden),
        nn.ReLU(),
        _silent(nn.Linear(shape.hidden, changed * (3 * shape.bins - 1))),
    )
    coupling = SplineCoupling(columns, conditioner, flipped, shape.bins, shape.bound)
    return Chain({"actnorm": ActNorm(columns), "mixing": Mixing(_rotation(columns)), "coupling": coupling})


def _rotation(size: int) -> Tensor:
    """A random orthogonal matrix."""
    rotation: Tensor = torch.linalg.qr(torch.randn(size, size))[0]
    return rotation


def _silent(layer: nn.Conv2d | nn.Linear) -> nn.Module:
    """The layer with zero weights: every coupling begins as the identity."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
