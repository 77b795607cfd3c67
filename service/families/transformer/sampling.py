"""One token from a row's logits: temperature, top-k, top-p, and one uniform number."""

import math

import numpy as np
from numpy.typing import NDArray

from service.arrays import Array

Floats = NDArray[np.float64]
Ids = NDArray[np.int64]


def log_softmax(logits: Array) -> Floats:
    """log p(token) in nats, float64 [V], of one row's logits [V]."""
    shifted = logits.astype(np.float64) - float(logits.max())
    normalised: Floats = shifted - math.log(np.exp(shifted).sum())
    return normalised


def candidates(logits: Array, temperature: float, top_k: int | None, top_p: float) -> tuple[Ids, Floats]:
    """The tokens that may be drawn, and the probability of each.

    p = softmax(logits / temperature) in float64; then the `top_k` likeliest; then the fewest likeliest of these whose
    share is at least `top_p` (Holtzman et al. 2020, arXiv:1904.09751). Lower ids go first among equals.
    """
    if temperature == 0:
        return np.array([np.argmax(logits)]), np.ones(1)
    ids = np.arange(len(logits))
    if top_k is not None or top_p < 1:
        ids = likeliest(logits, top_k)
    with np.errstate(over="ignore"):  # a temperature near 0: -inf has the weight 0
        weights = np.exp((logits[ids].astype(np.float64) - float(logits.max())) / temperature)
    shares = weights / weights.sum()
    if top_p < 1:
        kept = int(np.searchsorted(np.cumsum(shares), top_p)) + 1
        ids, shares = ids[:kept], shares[:kept] / shares[:kept].sum()
    return ids, shares


def draw(ids: Ids, probabilities: Floats, uniform: float) -> int:
    """The first of `ids` at which the distribution function reaches `uniform`, in (0, 1)."""
    reached = np.cumsum(probabilities)
    return int(ids[np.searchsorted(reached, uniform * reached[-1])])


def likeliest(logits: Array, count: int | None) -> Ids:
    """The `count` likeliest tokens, or all, the likeliest first; lower ids first among equals."""
    return np.argsort(-logits, kind="stable")[:count]
