"""Rational-quadratic splines: the monotone map of a neural spline flow, its inverse and its slope."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from training.export import row_stable

MIN_SLOPE = 1e-3


@dataclass(frozen=True)
class Spline:
    """One monotone rational-quadratic spline per entry; the identity outside [-bound, bound].

    Durkan et al. 2019 (arXiv:1906.04032), section 3.1: `x` and `y` are the knots [*, bins + 1], both increasing from
    -bound to bound, `slopes` the positive derivatives at the knots [*, bins + 1], 1 at both ends.
    """

    x: Tensor
    y: Tensor
    slopes: Tensor

    @staticmethod
    def from_parameters(parameters: Tensor, bound: float) -> "Spline":
        """The spline of 3 * bins - 1 free numbers per entry, [*, 3 * bins - 1]: widths, heights, inner slopes."""
        bins = (parameters.shape[-1] + 1) // 3
        widths, heights, slopes = torch.split(parameters, [bins, bins, bins - 1], dim=-1)
        return Spline(
            _knots(widths, bound),
            _knots(heights, bound),
            torch.exp(functional.pad(_soft_clip(slopes, -math.log(MIN_SLOPE)), (1, 1))),
        )

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The image of x [*] and the log-derivative there (equations 4 and 5)."""
        inside, (x0, x1, y0, y1, d0, d1) = self._bin(x, self.x)
        slope = (y1 - y0) / (x1 - x0)
        t = torch.where(inside, (x - x0) / (x1 - x0), 0.5)
        mixed = t * (1 - t)
        denominator = slope + (d0 + d1 - 2 * slope) * mixed
        y = y0 + (y1 - y0) * (slope * t**2 + d0 * mixed) / denominator
        derivative = slope**2 * (d1 * t**2 + 2 * slope * mixed + d0 * (1 - t) ** 2) / denominator**2
        return torch.where(inside, y, x), torch.where(inside, row_stable(torch.log, derivative), 0.0)

    def inverse(self, y: Tensor) -> Tensor:
        """The x whose image is y [*]: the root of a quadratic, in the form that does not cancel (equations 6 to 8)."""
        inside, (x0, x1, y0, y1, d0, d1) = self._bin(y, self.y)
        slope = (y1 - y0) / (x1 - x0)
        rise, bend = torch.where(inside, y - y0, 0.0), d0 + d1 - 2 * slope
        a = (y1 - y0) * (slope - d0) + rise * bend
        b = (y1 - y0) * d0 - rise * bend
        c = -slope * rise
        root = torch.sqrt(torch.clamp(b**2 - 4 * a * c, min=0.0))
        return torch.where(inside, x0 + (x1 - x0) * 2 * c / (-b - root), y)

    def _bin(self, value: Tensor, knots: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Where `value` lies inside the spline, and the corners and slopes of its bin: x0, x1, y0, y1, d0, d1."""
        bins = knots.shape[-1] - 1
        inside = (value >= knots[..., 0]) & (value < knots[..., -1])
        left = ((value[..., None] >= knots).sum(-1, keepdim=True) - 1).clamp(0, bins - 1)
        corners = [part.gather(-1, left + side)[..., 0] for part in (self.x, self.y, self.slopes) for side in (0, 1)]
        return inside, corners


def _knots(parameters: Tensor, bound: float) -> Tensor:
    shares = torch.softmax(_soft_clip(parameters, -math.log(MIN_SLOPE) / 2), dim=-1)
    return bound * (2 * functional.pad(torch.cumsum(shares, dim=-1), (1, 0)) - 1)


def _soft_clip(value: Tensor, limit: float) -> Tensor:
    """Between -limit and limit, the identity near 0: no two bins differ in width by more than 1 / MIN_SLOPE."""
    return value / (1 + torch.abs(value / limit))
