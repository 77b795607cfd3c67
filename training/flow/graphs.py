"""The two graphs of a flow as they are exported: data to latents with log-likelihood, and latents to data."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from training.export import row_sum
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
    """x and uniform noise [B, *event] -> Scored, computed in the flow's own precision."""

    def __init__(self, flow: Bijection, levels: int | None) -> None:
        super().__init__()
        self.flow = flow
        self.levels = levels

    def forward(self, x: Tensor, noise: Tensor) -> Scored:
        dequantised = dequantise(x, noise, self.levels)
        z, layers = self.flow(dequantised.to(_dtype(self.flow)))
        layers = (torch.full_like(z, cell_log_volume_nats(self.levels)), *layers)
        base = base_terms_nats(z)  # [B, *event], as each of the layers' terms
        base_log_prob, log_dets = row_sum(base), torch.stack([row_sum(layer) for layer in layers], dim=1)
        # Added one by one: a sum over the middle of [B, layers, *event] has other bits at batch 1 on ONNX Runtime.
        terms = sum(layers, start=base)
        scored = z, base_log_prob + row_sum(log_dets), base_log_prob, log_dets, terms, dequantised
        return Scored(*(value.to(x.dtype) for value in scored))


class Inverse(nn.Module):
    """Latents z [B, *event] -> Decoded, computed in the flow's own precision."""

    def __init__(self, flow: Bijection, levels: int | None) -> None:
        super().__init__()
        self.flow = flow
        self.levels = levels

    def forward(self, z: Tensor) -> Decoded:
        dequantised = self.flow.inverse(z.to(_dtype(self.flow)))
        return Decoded(dequantised.to(z.dtype), quantise(dequantised, self.levels).to(z.dtype))


def _dtype(flow: Bijection) -> torch.dtype:
    return next(flow.parameters()).dtype
