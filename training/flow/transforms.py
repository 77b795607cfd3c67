"""The pointwise and linear layers of a flow: standardisation, asinh, logit, ActNorm, 1x1 convolution."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.export import row_stable
from training.flow.chain import Bijection, Terms


class Affine(Bijection):
    """y = (x - centre) / scale with one constant each per column."""

    centre: Tensor
    scale: Tensor
    log_scale: Tensor

    def __init__(self, centre: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("centre", centre)
        self.register_buffer("scale", scale)
        self.register_buffer("log_scale", torch.log(scale))

    def forward(self, x: Tensor) -> tuple[Tensor, Terms]:
        return (x - self.centre) / self.scale, ((-self.log_scale).expand_as(x),)

    def inverse(self, y: Tensor) -> Tensor:
        return y * self.scale + self.centre


class Asinh(Bijection):
    """y = asinh(x): linear near 0, logarithmic in the tails, so that a far entry stays in reach of the splines."""

    def forward(self, x: Tensor) -> tuple[Tensor, Terms]:
        root = torch.sqrt(1 + x**2)
        return torch.sign(x) * row_stable(torch.log, torch.abs(x) + root), (-row_stable(torch.log, root),)

    def inverse(self, y: Tensor) -> Tensor:
        return (torch.exp(y) - torch.exp(-y)) / 2


class Logit(Bijection):
    """y = logit(alpha + (1 - 2 alpha) x) for x in [0, 1]: Dinh et al. 2017 (arXiv:1605.08803), section 4.1."""

    def __init__(self, alpha: float = 0.05) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, x: Tensor) -> tuple[Tensor, Terms]:
        p = self.alpha + (1 - 2 * self.alpha) * x
        log_p, log_q = row_stable(torch.log, p), row_stable(torch.log, 1 - p)
        return log_p - log_q, (math.log(1 - 2 * self.alpha) - log_p - log_q,)

    def inverse(self, y: Tensor) -> Tensor:
        return (torch.sigmoid(y) - self.alpha) / (1 - 2 * self.alpha)


class ActNorm(Bijection):
    """A scale and shift per channel, set by the first batch to zero mean and unit variance: Glow (arXiv:1807.03039).

    After that batch they are parameters like any other: nothing couples the rows of a batch.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(channels))
        self.shift = nn.Parameter(torch.zeros(channels))
        self.pending = True

    def forward(self, x: Tensor) -> tuple[Tensor, Terms]:
        if self.pending:
            self._fit(x)
        log_scale = _per_channel(self.log_scale, x)
        return (x + _per_channel(self.shift, x)) * torch.exp(log_scale), (log_scale.expand_as(x),)

    def inverse(self, y: Tensor) -> Tensor:
        return y * torch.exp(-_per_channel(self.log_scale, y)) - _per_channel(self.shift, y)

    @torch.no_grad()
    def _fit(self, x: Tensor) -> None:
        rest = [axis for axis in range(x.dim()) if axis != 1]
        self.shift.copy_(-x.mean(rest))
        self.log_scale.copy_(-torch.log(x.std(rest) + 1e-6))
        self.pending = False


class Mixing(Bijection):
    """An invertible matrix over the channels (Glow's 1x1 convolution), W = P L (U + diag(sign * exp(log_diagonal))).

    Its log-determinant is sum(log_diagonal): Kingma and Dhariwal 2018 (arXiv:1807.03039), equations 10 and 11.
    """

    permutation: Tensor
    sign: Tensor

    def __init__(self, initial: Tensor) -> None:
        super().__init__()
        permutation, lower, upper = torch.linalg.lu(initial)
        diagonal = upper.diagonal()
        self.register_buffer("permutation", permutation)
        self.register_buffer("sign", torch.sign(diagonal))
        self.lower = nn.Parameter(torch.tril(lower, -1))
        self.upper = nn.Parameter(torch.triu(upper, 1))
        self.log_diagonal = nn.Parameter(torch.log(torch.abs(diagonal)))

    def matrix(self) -> Tensor:
        """W [C, C]."""
        lower = torch.tril(self.lower, -1) + torch.eye(len(self.sign), dtype=self.lower.dtype)
        upper = torch.triu(self.upper, 1) + torch.diag(self.sign * torch.exp(self.log_diagonal))
        return self.permutation @ lower @ upper

    def forward(self, x: Tensor) -> tuple[Tensor, Terms]:
        return _mix(self.matrix(), x), (self.log_diagonal.mean().expand_as(x),)

    def inverse(self, y: Tensor) -> Tensor:
        return _mix(torch.linalg.inv(self.matrix()), y)


class FixedMixing(Bijection):
    """A trained Mixing with its matrix and the inverse written out: what is exported."""

    weight: Tensor
    inverse_weight: Tensor
    log_scale: Tensor

    def __init__(self, mixing: Mixing) -> None:
        super().__init__()
        weight = mixing.matrix().detach()
        self.register_buffer("weight", weight)
        self.register_buffer("inverse_weight", torch.linalg.inv(weight.double()).to(weight))
        self.register_buffer("log_scale", mixing.log_diagonal.detach().mean())

    def forward(self, x: Tensor) -> tuple[Tensor, Terms]:
        return _mix(self.weight, x), (self.log_scale.expand_as(x),)

    def inverse(self, y: Tensor) -> Tensor:
        return _mix(self.inverse_weight, y)


def _per_channel(value: Tensor, x: Tensor) -> Tensor:
    """[C] against [B, C, ...]."""
    return value.view(1, -1, *[1] * (x.dim() - 2))


def _mix(matrix: Tensor, x: Tensor) -> Tensor:
    """The matrix [C, C] applied to the channels of x [B, C] or [B, C, H, W]."""
    return functional.linear(x, matrix) if x.dim() == 2 else functional.conv2d(x, matrix[..., None, None])
