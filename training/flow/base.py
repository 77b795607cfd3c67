"""What the flow recipes share: the loss, the first batch, and the export of both graphs."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from training.data import Data
from training.export import Exported, GraphSource, record
from training.flow.chain import Chain
from training.flow.graphs import Decoded, Forward, Inverse, Scored, layer_names
from training.flow.measure import ExportedFlow, Measured
from training.flow.model import fixed
from training.flow.objective import bits_per_dim, dequantise, log_prob_nats
from training.loop import LoopConfig
from training.publish import Artefacts

FIRST_BATCH = 2048  # rows that set the ActNorm layers
EXAMPLES = 64  # rows that the exported graphs are checked with


@dataclass(frozen=True)
class FlowRecipe(ABC):
    """Maximum likelihood of integer-valued events, dequantised with uniform noise.

    `levels` as in FlowParams; `toy` needs no download. `forward_atol` and `inverse_atol` bound what another order of
    summation may change in the graphs, which compute in `precision` (and take and return float32).
    """

    name: str
    config: LoopConfig
    levels: int | None
    forward_atol: float
    inverse_atol: float
    precision: torch.dtype = torch.float32
    toy: bool = False

    @abstractmethod
    def load(self, folder: Path) -> Data: ...

    @abstractmethod
    def wire(self, rows: Tensor) -> Tensor:
        """Rows of the data set as they come over the wire, float32."""

    @abstractmethod
    def flow(self, x: Tensor) -> Chain:
        """The untrained flow; x are training rows as on the wire."""

    @abstractmethod
    def artefacts(self, graphs: ExportedFlow, data: Data) -> Artefacts:
        """What is published, but for the goldens and the twins."""

    def quick(self) -> Self:
        config = replace(self.config, steps=30, batch_size=32, warmup_steps=5, checkpoint_every=10, log_every=10)
        return replace(self, config=config, toy=True)

    def network(self, data: Data) -> Chain:
        first = self.wire(data.train[0][:FIRST_BATCH])
        flow = self.flow(first)
        with torch.no_grad():
            flow(dequantise(first, torch.rand_like(first), self.levels))
        return flow

    def loss(self, network: nn.Module, batch: tuple[Tensor, ...], generator: torch.Generator) -> Tensor:
        x = self.wire(batch[0])
        noise = torch.rand(x.shape, generator=generator)
        log_prob = log_prob_nats(_chain(network), dequantise(x, noise, self.levels), self.levels)
        return bits_per_dim(log_prob, x[0].numel()).mean()

    def finish(self, network: nn.Module, data: Data) -> Artefacts:
        flow = fixed(_chain(network).to(self.precision))
        scorer, decoder = Forward(flow, self.levels), Inverse(flow, self.levels)
        examples = _Examples(self.wire(data.held_out[0][:EXAMPLES]), scorer)
        forward = GraphSource("forward", scorer, examples.rows, Scored._fields, self.forward_atol)
        inverse = GraphSource("inverse", decoder, examples.latents, Decoded._fields, self.inverse_atol)
        graphs = ExportedFlow(layer_names(flow), forward.onnx(), inverse.onnx())
        goldens = {
            "forward": record(graphs.forward, examples.rows(3)),
            "inverse": record(graphs.inverse, examples.latents(3)),
        }
        return replace(self.artefacts(graphs, data), goldens=goldens, twins=self.twins(forward, inverse))

    def twins(self, forward: GraphSource, inverse: GraphSource) -> Mapping[str, Mapping[str, Exported]]:
        """The same weights in other formats."""
        return {}

    def figures(self, tested: Measured, entries: int) -> dict[str, float]:
        """The metrics of both flows, over test rows."""
        mean = float(tested.log_prob_nats.mean(dtype=np.float64))
        return {
            "log_prob_test_nats": mean,
            "bits_per_dim_test": float(bits_per_dim(torch.tensor(mean), entries)),
            "round_trip_error_max": float(tested.round_trip_max.max()),
            "round_trip_error_mean": float(tested.round_trip_mean.mean()),
        }


@dataclass(frozen=True)
class _Examples:
    """Inputs of both graphs: real rows, away from the borders of their cells, where one bit flips an integer."""

    x: Tensor
    scorer: Forward

    def rows(self, count: int) -> dict[str, Tensor]:
        x = self.x[:count]
        return {"x": x, "noise": 0.25 + 0.5 * torch.rand(x.shape, generator=torch.Generator().manual_seed(count))}

    @torch.no_grad()
    def latents(self, count: int) -> dict[str, Tensor]:
        return {"z": self.scorer(**self.rows(count)).z}


def _chain(network: nn.Module) -> Chain:
    if not isinstance(network, Chain):
        raise TypeError(f"a Chain is needed, not a {type(network).__name__}")
    return network
