"""gan-fashion and its baseline gan-fashion-minimax: configuration, graphs, metrics and pictures."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self, cast

import numpy as np
import torch
from torch import Tensor, nn

from model_store.manifest import GanParams
from training.data import FASHION_CLASSES, Data, fashion, toy_images
from training.evaluate import Scorer
from training.export import GraphSource, record
from training.gan.description import MINIMAX, RELATIVISTIC
from training.gan.graphs import Discriminate, Map, Synthesise
from training.gan.measure import ExportedGan, Floats, Labels, equilibrium_metrics, sample_metrics
from training.gan.model import Gan
from training.gan.objective import Rules, turn_loss
from training.loop import LoopConfig
from training.publish import Artefacts, Description, image_grid

CONFIG = LoopConfig(
    steps=7000,
    batch_size=32,
    learning_rate=1.2e-3,
    warmup_steps=300,
    ema_decay=0.998,
    gradient_clip=100.0,
    optimizer="adam_game",
    checkpoint_every=400,
    log_every=100,
)
MINIMAX_CONFIG = replace(CONFIG, steps=9500, learning_rate=2e-4)
RULES, MINIMAX_RULES = Rules("relativistic", gamma=0.2), Rules("minimax", gamma=0.0)
EXAMPLES = 64  # rows that the exported graphs are checked with
SAMPLES = 10_000


@dataclass(frozen=True)
class GanRecipe:
    """A class-conditional game of two players who take turns; a step of the loop is one turn."""

    name: str = "gan-fashion"
    config: LoopConfig = CONFIG
    rules: Rules = RULES
    description: Description = RELATIVISTIC
    latent_size: int = 64
    style_size: int = 128
    channels: tuple[int, int] = (32, 64)
    samples: int = SAMPLES
    toy: bool = False

    def quick(self) -> Self:
        config = replace(self.config, steps=40, batch_size=8, warmup_steps=5, checkpoint_every=10, log_every=10)
        return replace(self, config=config, channels=(8, 8), style_size=16, samples=200, toy=True)

    def load(self, folder: Path) -> Data:
        return toy_images() if self.toy else fashion(folder)

    def network(self, data: Data) -> Gan:
        return Gan(len(FASHION_CLASSES), self.latent_size, self.style_size, self.channels)

    def loss(self, network: nn.Module, batch: tuple[Tensor, ...], generator: torch.Generator) -> Tensor:
        images, labels = batch
        z = torch.randn(len(images), self.latent_size, generator=generator)
        return turn_loss(cast(Gan, network), self.rules, 2 * wire(images) - 1, labels, z)

    def finish(self, network: nn.Module, data: Data) -> Artefacts:
        gan, examples = cast(Gan, network), Examples(self.latent_size, self.style_size, data.held_out)
        graphs = ExportedGan(
            GraphSource("map", Map(gan.generator), examples.latents, ("w",), atol=1e-4).onnx(),
            GraphSource("synthesise", Synthesise(gan.generator), examples.styles, ("image",), atol=1e-4).onnx(),
            GraphSource(
                "discriminate", Discriminate(gan.critic, origin(gan, *data.held_out)), examples.images, ("logit",), 1e-3
            ).onnx(),
        )
        pixels = wire(data.train[0]).double()
        return Artefacts(
            graphs=graphs.by_name(),
            params=GanParams(
                image_shape=(1, 28, 28),
                classes=FASHION_CLASSES,
                latent_size=self.latent_size,
                style_size=self.style_size,
            ),
            metrics=self._metrics(graphs, *(part.numpy() for part in (wire(data.test[0]), data.test[1]))),
            goldens={
                "map": record(graphs.map, examples.latents(3)),
                "synthesise": record(graphs.synthesise, examples.styles(3)),
                "discriminate": record(graphs.discriminate, examples.images(3)),
            },
            calibration={
                **_calibration(graphs, *(part.numpy() for part in (wire(data.held_out[0]), data.held_out[1]))),
                "pixel_mean": pixels.mean(0).float().numpy(),
                "pixel_std": pixels.std(0).float().numpy(),
            },
            samples=image_grid(graphs.sample(np.arange(100) % len(FASHION_CLASSES)), columns=10),
            description=self.description,
        )

    def _metrics(self, graphs: ExportedGan, images: Floats, labels: Labels) -> dict[str, float]:
        wanted = np.arange(self.samples) % len(FASHION_CLASSES)
        generated = graphs.sample(wanted)
        return {
            **sample_metrics(generated, wanted, Scorer()),
            **equilibrium_metrics(graphs.judge(images, labels), graphs.judge(generated, wanted)),
        }


@dataclass(frozen=True)
class MinimaxRecipe(GanRecipe):
    """The minimax game of the first GANs between the same two networks, for the same minutes."""

    name: str = "gan-fashion-minimax"
    config: LoopConfig = MINIMAX_CONFIG
    rules: Rules = MINIMAX_RULES
    description: Description = MINIMAX


@dataclass(frozen=True)
class Examples:
    """Inputs of the graphs; `rows` are real images and their labels."""

    latent_size: int
    style_size: int
    rows: tuple[Tensor, ...]

    def latents(self, count: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(count)
        z = torch.randn(count, self.latent_size, generator=generator)
        return {"z": z, "label": self.rows[1][:count], "truncation": torch.rand(count, generator=generator)}

    def styles(self, count: int) -> dict[str, Tensor]:
        w = torch.randn(count, self.style_size, generator=torch.Generator().manual_seed(count))
        return {"w": w, "label": self.rows[1][:count]}

    def images(self, count: int) -> dict[str, Tensor]:
        return {"image": wire(self.rows[0][:count]), "label": self.rows[1][:count]}


def wire(images: Tensor) -> Tensor:
    """uint8 -> float32 in [0, 1]."""
    return images.float() / 255


@torch.no_grad()
def origin(gan: Gan, images: Tensor, labels: Tensor) -> float:
    """The logit half way between the means of held-out and of generated images.

    The relativistic game knows differences of logits only; this zero makes D = 1/2 mean "undecided" again.
    """
    images, labels = images[:1000], labels[:1000]
    z = torch.randn(len(labels), gan.generator.latent_size, generator=torch.Generator().manual_seed(0))
    shown = (2 * wire(images) - 1, gan.generator(z, labels))
    means = [float(gan.critic(image, labels).mean()) for image in shown]
    return sum(means) / 2


def _calibration(graphs: ExportedGan, images: Floats, labels: Labels) -> dict[str, Floats]:
    """Sorted logits of held-out images, and of as many generated ones of the same classes."""
    generated = graphs.sample(labels, seed=1)
    return {
        "logit_real": np.sort(graphs.judge(images, labels)),
        "logit_generated": np.sort(graphs.judge(generated, labels)),
    }
