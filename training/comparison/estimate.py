"""Figures with their standard errors: means, ratios, AUROC, and the distance of a sample."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

GROUPS = 10  # of the jackknife

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Estimate:
    """A figure, and the standard error that comes from having measured it on finitely many rows."""

    value: float
    standard_error: float

    def __str__(self) -> str:
        """Both figures with as many decimals as make two digits of the error, which is left out where it is 0."""
        if self.standard_error == 0:
            return f"{self.value:.4g}"
        decimals = min(6, max(0, 1 - math.floor(math.log10(self.standard_error))))
        return f"{self.value:.{decimals}f} ± {self.standard_error:.{decimals}f}"

    def exponential(self) -> "Estimate":
        """e to the figure, to first order in its error."""
        return Estimate(math.exp(self.value), math.exp(self.value) * self.standard_error)


def mean(values: Floats) -> Estimate:
    """The mean of values [N], N > 1."""
    exact = values.astype(np.float64)
    return Estimate(float(exact.mean()), float(exact.std(ddof=1) / math.sqrt(len(exact))))


def ratio(numerators: Floats, denominators: Floats) -> Estimate:
    """The ratio of two sums over rows [N], N > 1; the error by linearisation (Cochran 1977, chapter 6)."""
    value = float(numerators.sum(dtype=np.float64) / denominators.sum(dtype=np.float64))
    residue = (numerators - value * denominators) / denominators.mean(dtype=np.float64)
    return Estimate(value, mean(residue).standard_error)


def auroc(normal: Floats, strange: Floats) -> Estimate:
    """The probability that a stranger's score is above a normal row's, ties counting half.

    The error is that of DeLong et al. 1988 (Biometrics 44:837), from the place of each row among the others.
    """
    ranks = rankdata(np.concatenate((normal, strange)))
    strange_places = (ranks[len(normal) :] - rankdata(strange)) / len(normal)
    normal_places = (ranks[: len(normal)] - rankdata(normal)) / len(strange)
    errors = mean(strange_places).standard_error, mean(normal_places).standard_error
    return Estimate(float(strange_places.mean()), math.hypot(*errors))


def jackknife(figure: Callable[[Floats], float], rows: Floats) -> Estimate:
    """A figure of rows [N, ...] as a whole; the error from leaving out a tenth at a time (Quenouille 1956)."""
    group = np.arange(len(rows)) * GROUPS // len(rows)  # neighbours: every tenth row would be a class of its own
    without = np.array([figure(rows[group != left_out]) for left_out in range(GROUPS)])
    return Estimate(figure(rows), float(without.std() * math.sqrt(GROUPS - 1)))
