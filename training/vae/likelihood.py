"""The likelihood of a decoder: a mixture of discretised logistics for each entry, over the cells of integer data."""

import math
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor, nn

from training.stable import log, log_add_exp, log_one_minus_exp, softplus

LOG_SCALE_MIN, LOG_SCALE_MAX = -7.0, 7.0  # of a component, in standardised units
EDGE = 2.0**-24  # float32 knows no number between 1 - EDGE and 1


class Mixture(NamedTuple):
    """K logistics per entry, in standardised units; each [B, K, *event]."""

    log_weights: Tensor
    means: Tensor
    log_scales: Tensor


class Cells(nn.Module):
    """The cells that data falls into, one integer step wide, and their place in standardised units.

    With `levels`, x is k / (levels - 1) in [0, 1], and the first and last cell reach to infinity; otherwise x is any
    integer. Standardised is (x - shift) / scale, both [*event].
    """

    shift: Tensor
    scale: Tensor
    log_width: Tensor  # of a cell, in standardised units

    def __init__(self, levels: int | None, shift: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.levels = levels
        self.step = 1.0 if levels is None else 1 / (levels - 1)
        self.register_buffer("shift", shift)
        self.register_buffer("scale", scale)
        self.register_buffer("log_width", torch.log(self.step / scale), persistent=False)

    def standardise(self, x: Tensor) -> Tensor:
        return (x - self.shift) / self.scale

    def restore(self, standardised: Tensor) -> Tensor:
        """The continuous value on the wire."""
        return standardised * self.scale + self.shift

    def quantise(self, standardised: Tensor) -> Tensor:
        """The value on the wire whose cell holds a standardised value."""
        nearest = torch.round(self.restore(standardised) / self.step)
        return nearest if self.levels is None else nearest.clamp(0, self.levels - 1) / (self.levels - 1)

    def ends(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Where x lies in the first and in the last cell."""
        if self.levels is None:
            return torch.zeros_like(x, dtype=torch.bool), torch.zeros_like(x, dtype=torch.bool)
        return x < self.step / 2, x > 1 - self.step / 2


def mixture(raw: Tensor, components: int) -> Mixture:
    """The mixture that a decoder's outputs [B, 3 K, *event] stand for."""
    logits, means, log_scales = raw.reshape(raw.shape[0], 3, components, *raw.shape[2:]).unbind(1)
    return Mixture(
        logits - log_sum_exp(logits)[:, None], means, log_scales.clamp(LOG_SCALE_MIN, LOG_SCALE_MAX)
    )  # all [B, K, *event]


def log_prob_terms(parts: Mixture, x: Tensor, cells: Cells) -> Tensor:
    """log P(x) entry by entry, in nats, of x on the wire: [B, *event].

    The mass of x's cell under a mixture of logistics (Salimans et al. 2017, PixelCNN++, arXiv:1701.05517, eq. 2).
    With a = (upper border - mean) / scale and b for the lower border, sigmoid(a) - sigmoid(b) is
    sigmoid(a) sigmoid(-b) (1 - exp(b - a)): three factors that do not cancel. An end cell lacks the border beyond it.
    """
    lowest, highest = (end[:, None] for end in cells.ends(x))
    centre, half = cells.standardise(x)[:, None], cells.step / (2 * cells.scale)
    inverse = torch.exp(-parts.log_scales)
    below = torch.where(highest, 0.0, -softplus((parts.means - centre - half) * inverse))
    above = torch.where(lowest, 0.0, -softplus((centre - half - parts.means) * inverse))
    width = log_one_minus_exp(2 * half * inverse, cells.log_width - parts.log_scales)
    inside = torch.where(lowest | highest, 0.0, width)
    return log_sum_exp(parts.log_weights + below + above + inside)


def mean(parts: Mixture, cells: Cells) -> Tensor:
    """The expected value on the wire [B, *event].

    With levels, each component counts as if clipped to [0, 1]: E = integral of 1 - CDF = s (softplus((m - 0) / s) -
    softplus((m - 1) / s)), which differs from the sum over the cells by less than half a level.
    """
    weights, scales = torch.exp(parts.log_weights), torch.exp(parts.log_scales)
    if cells.levels is None:
        return cells.restore(chain_sum(weights * parts.means))
    zero, one = cells.standardise(torch.zeros_like(cells.shift)), cells.standardise(torch.ones_like(cells.shift))
    rise = softplus((parts.means - zero) / scales)
    fall = softplus((parts.means - one) / scales)
    return (chain_sum(weights * scales * (rise - fall)) * cells.scale).clamp(0, 1)


def draw(parts: Mixture, noise: Tensor) -> Tensor:
    """A draw in standardised units, before quantisation, from one uniform number per entry: [B, *event].

    `noise` in (0, 1) chooses the component by the cumulated weights; what remains of it within the component's
    share is uniform again and goes through that component's inverse CDF.
    """
    start = torch.zeros_like(noise)
    value, log_scale, fraction = (torch.zeros_like(noise) for _ in range(3))
    for log_weight, mean_, component_log_scale in zip(*(part.unbind(1) for part in parts), strict=True):
        weight, reached = torch.exp(log_weight), noise >= start
        fraction = torch.where(reached, (noise - start) / weight.clamp(min=1e-30), fraction)
        value = torch.where(reached, mean_, value)
        log_scale = torch.where(reached, component_log_scale, log_scale)
        start = start + weight
    fraction = fraction.clamp(EDGE, 1 - EDGE)
    return value + torch.exp(log_scale) * (log(fraction) - log(1 - fraction))


def log_sum_exp(x: Tensor) -> Tensor:
    """log sum exp over the components of [B, K, *event]: [B, *event]."""
    return reduce(log_add_exp, x.unbind(1))


def chain_sum(x: Tensor) -> Tensor:
    """The sum over the components of [B, K, *event], one by one.

    ONNX Runtime sums over a middle dimension in an order that depends on the batch.
    """
    first, *others = x.unbind(1)
    return sum(others, start=first)


def bits(nats: Tensor, entries: int) -> Tensor:
    """-nats / (D ln 2): bits per dimension of a log-probability."""
    return -nats / (entries * math.log(2))
