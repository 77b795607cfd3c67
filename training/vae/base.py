"""What both autoencoders share: the loss, and the export of the three graphs with their examples."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self, cast

import torch
from torch import Tensor, nn

from training.data import Data
from training.export import GraphSource, record
from training.loop import LoopConfig
from training.publish import Artefacts
from training.vae.graphs import Decode, Decoded, Elbo, Encode, Encoded
from training.vae.likelihood import draw
from training.vae.measure import ExportedVae
from training.vae.model import Vae
from training.vae.objective import Bound, negative_elbo

EXAMPLES = 64  # rows that the exported graphs are checked with
MARGIN = 0.05  # of a cell: nearer to its border, one bit of the last place may turn an example into its neighbour


@dataclass(frozen=True)
class Effort:
    """How many rows and draws the costly figures are measured on."""

    iwae_rows: int = 500
    iwae_draws: int = 64
    samples: int = 10_000
    strangers: int = 2000


TOY_EFFORT = Effort(iwae_rows=20, iwae_draws=4, samples=200, strangers=50)


@dataclass(frozen=True)
class VaeRecipe(ABC):
    """The ELBO of integer-valued events under a mixture of discretised logistics; `toy` needs no download.

    `decode_atol` bounds what another order of summation may change in values on the wire.
    """

    name: str
    config: LoopConfig
    latent_size: int
    components: int
    warmup_steps: int
    decode_atol: float
    effort: Effort = Effort()
    toy: bool = False

    @abstractmethod
    def load(self, folder: Path) -> Data: ...

    @abstractmethod
    def wire(self, rows: Tensor) -> Tensor:
        """Rows of the data set as they come over the wire, float32."""

    @abstractmethod
    def network(self, data: Data) -> Vae: ...

    @abstractmethod
    def artefacts(self, graphs: ExportedVae, data: Data) -> Artefacts:
        """What is published, but for the goldens."""

    def quick(self) -> Self:
        config = replace(self.config, steps=30, batch_size=32, warmup_steps=5, checkpoint_every=10, log_every=10)
        return replace(self, config=config, warmup_steps=10, effort=TOY_EFFORT, toy=True)

    def loss(self, network: nn.Module, batch: tuple[Tensor, ...], generator: torch.Generator) -> Tensor:
        x = self.wire(batch[0])
        noise = torch.randn(len(x), self.latent_size, generator=generator)
        return negative_elbo(cast(Vae, network), x, noise, self.warmup_steps).mean()

    def finish(self, network: nn.Module, data: Data) -> Artefacts:
        vae = cast(Vae, network)
        examples = Examples(vae, self.wire(data.held_out[0][:EXAMPLES]))
        encode = GraphSource("encode", Encode(vae), examples.rows, Encoded._fields, atol=1e-4)
        elbo = GraphSource("elbo", Elbo(vae), examples.noisy_rows, Bound._fields, atol=2e-2)
        decode = GraphSource("decode", Decode(vae), examples.latents, Decoded._fields, self.decode_atol)
        graphs = ExportedVae(encode.onnx(), elbo.onnx(), decode.onnx())
        goldens = {
            "encode": record(graphs.encode, examples.rows(3)),
            "elbo": record(graphs.elbo, examples.noisy_rows(3)),
            "decode": record(graphs.decode, examples.latents(3)),
        }
        return replace(self.artefacts(graphs, data), goldens=goldens)


@dataclass(frozen=True)
class Examples:
    """Inputs of the graphs, from real rows x as on the wire."""

    vae: Vae
    x: Tensor

    def rows(self, count: int) -> dict[str, Tensor]:
        return {"x": self.x[:count]}

    def noisy_rows(self, count: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(count)
        return {"x": self.x[:count], "noise": torch.randn(count, self.vae.latent_size, generator=generator)}

    def latents(self, count: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(count)
        z = torch.randn(count, self.vae.latent_size, generator=generator)
        noise = torch.rand(count, *self.x.shape[1:], generator=generator)
        while (borderline := self._borderline(z, noise)).any():
            noise = torch.where(borderline, torch.rand(noise.shape, generator=generator), noise)
        return {"z": z, "noise": noise}

    @torch.no_grad()
    def _borderline(self, z: Tensor, noise: Tensor) -> Tensor:
        """Where noise leads near the border of a cell, or of a component's share."""
        parts, cells = self.vae.likelihood(z), self.vae.cells
        shares = torch.exp(parts.log_weights).cumsum(1)
        place = cells.restore(draw(parts, noise)) / cells.step
        near_cell = (place - place.floor() - 0.5).abs() < MARGIN
        return near_cell | ((shares - noise[:, None]).abs() < 1e-4).any(1)
