"""Maximum likelihood by the change of variables: log p(x) = log p(z) + sum of log |det J|."""

import math

import torch
from torch import Tensor

from training.flow.chain import Bijection


def dequantise(x: Tensor, noise: Tensor, levels: int | None) -> Tensor:
    """Integers spread over their cells by `noise`, uniform in [0, 1) (Theis et al. 2016, arXiv:1511.01844, sec. 3.1).

    With `levels`, x is k / (levels - 1) in [0, 1] and the result (k + noise) / levels; otherwise x is k and the
    result k + noise.
    """
    cell = torch.round(x if levels is None else x * (levels - 1))
    spread = cell + noise
    inside = torch.where(spread < cell + 1, spread, cell)  # a large k leaves the noise few bits: it may round up
    return inside if levels is None else inside / levels


def quantise(dequantised: Tensor, levels: int | None) -> Tensor:
    """The x whose cell holds a dequantised value."""
    if levels is None:
        return torch.floor(dequantised)
    return torch.clamp(torch.floor(dequantised * levels), 0, levels - 1) / (levels - 1)


def cell_log_volume_nats(levels: int | None) -> float:
    """log of a data cell's side in dequantised units: densities are measured per cell, one integer step = volume 1."""
    return 0.0 if levels is None else -math.log(levels)


def base_terms_nats(z: Tensor) -> Tensor:
    """log N(z; 0, 1), entry by entry."""
    return -0.5 * z**2 - 0.5 * math.log(2 * math.pi)


def log_prob_nats(flow: Bijection, dequantised: Tensor, levels: int | None) -> Tensor:
    """log p per data cell [B] of dequantised values [B, ...].

    One draw of the dequantisation noise: the integrand of the usual lower bound on the discrete log-likelihood,
    E_u[log p(x + u)] <= log P(x).
    """
    z, terms = flow(dequantised)
    total: Tensor = base_terms_nats(z) + cell_log_volume_nats(levels) + sum(terms)
    return total.flatten(1).sum(1)


def bits_per_dim(log_prob: Tensor, entries: int) -> Tensor:
    """-log_prob / (D ln 2), for densities per data cell."""
    return -log_prob / (entries * math.log(2))
