"""What restoration knows of an image: linear operators A with their pseudo-inverses A+, and the null-space projection.

Images x are [..., C, H, W], measurements y = A x. A commutes with the scaling of pixels from [0, 1] to [-1, 1].
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from service.arrays import Array

CLOSE = 1e-5
ROUNDS = 500


class Operator(Protocol):
    """A linear measurement with A A+ A = A and A+ A A+ = A+."""

    def apply(self, x: Array) -> Array:
        """A x."""
        ...

    def pseudo_inverse(self, y: Array) -> Array:
        """A+ y."""
        ...


@dataclass(frozen=True)
class Average:
    """The mean of `factor` x `factor` pixels; A+ repeats each mean (nearest neighbour)."""

    factor: int

    def apply(self, x: Array) -> Array:
        *leading, height, width = x.shape
        s = self.factor
        means: Array = x.reshape(*leading, height // s, s, width // s, s).mean(axis=(-3, -1))
        return means

    def pseudo_inverse(self, y: Array) -> Array:
        return y.repeat(self.factor, axis=-2).repeat(self.factor, axis=-1)


@dataclass(frozen=True)
class Mask:
    """The pixels where `known`, which broadcasts to x, is true, zero elsewhere; A+ = A."""

    known: Array

    def apply(self, x: Array) -> Array:
        return np.where(self.known, x, x.dtype.type(0))

    def pseudo_inverse(self, y: Array) -> Array:
        return self.apply(y)


def project(operator: Operator, y: Array, x0: Array) -> Array:
    """A+ y + (I - A+ A) x0, the point nearest to x0 with A x = y (Wang et al. 2022, arXiv:2212.00490, eq. 10)."""
    projected: Array = operator.pseudo_inverse(y) + (x0 - operator.pseudo_inverse(operator.apply(x0)))
    return projected


def into_box(operator: Operator, y: Array, x: Array) -> Array:
    """A point near x with pixels in [0, 1] and A x = y to within 1e-5, for y in [0, 1].

    By alternating projections, which meet because A+ y lies in both sets (Bregman 1965).
    """
    x = np.clip(x, 0, 1)
    for _ in range(ROUNDS):
        if residual(operator, y, x) <= CLOSE:
            break
        x = np.clip(project(operator, y, x), 0, 1)
    return x


def residual(operator: Operator, y: Array, x: Array) -> float:
    """max |A x - y|."""
    return float(np.max(np.abs(operator.apply(x) - y)))
