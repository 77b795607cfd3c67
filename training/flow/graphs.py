"""The two graphs of a flow as they are exported: data to latents with log-likelihood, and latents to data."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from training.flow.chain import Bijection
from training.flow.objective import base_terms_nats, cell_log_volume_nats, dequantise, quantise


class Scored(NamedTuple):
    """What `forward` returns, in this order; densities are per data cell, in nats."""

    z: Tensor  # [B, *event]
    log_prob: Tensor  # [B]
    base_log_prob: Tensor  # [B]
    log_dets: Tensor  # [B, layers]; base_log_prob + sum(log_dets) = log_prob
    terms: Tensor  # [B, *event]; sum(terms) = log_prob
    dequantised: Tensor  # [B, *event], the continuous value that was scored


class Decoded(NamedTuple):
    """What `inverse` returns, in this order."""

    dequantised: Tensor  # [B, *event]
    x: Tensor  # [B, *event], as on the wire


def layer_names(flow: Bijection) -> tuple[str, ...]:
    """The names of log_dets, in order."""
    return ("dequantisation", *flow.names())


class Forward(nn.Module):
    """x and uniform noise [B, *event] -> Scored."""

    def __init__(self, flow: Bijection, levels: int | None) -> None:
        super().__init__()
        self.flow = flow
        self.levels = levels

    def forward(self, x: Tensor, noise: Tensor) -> Scored:
        dequantised = dequantise(x, noise, self.levels)
        z, layers = self.flow(dequantised)
        cell = torch.full_like(z, cell_log_volume_nats(self.levels))
        base, changes = base_terms_nats(z), torch.stack([cell, *layers], dim=1)  # [B, *event], [B, layers, *event]
        base_log_prob, log_dets = base.flatten(1).sum(1), changes.flatten(2).sum(2)
        log_prob = base_log_prob + log_dets.sum(1)
        return Scored(z, log_prob, base_log_prob, log_dets, base + changes.sum(1), dequantised)


class Inverse(nn.Module):
    """Latents z [B, *event] -> Decoded."""

    def __init__(self, flow: Bijection, levels: int | None) -> None:
        super().__init__()
        self.flow = flow
        self.levels = levels

    def forward(self, z: Tensor) -> Decoded:
        dequantised = self.flow.inverse(z)
        return Decoded(dequantised, quantise(dequantised, self.levels))
