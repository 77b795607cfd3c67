"""diffusion-fashion: trains, measures and exports a class-conditional denoiser of Fashion-MNIST."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from model_store.golden import Golden
from model_store.manifest import DiffusionParams
from training.checks import runner
from training.data import FASHION_CLASSES, Data, fashion, toy_images
from training.diffusion.measure import Effort, bound_metrics, denoising_metrics, sample, sample_metrics
from training.diffusion.model import Denoiser
from training.diffusion.objective import P_MEAN, P_STD, denoising_loss
from training.diffusion.sampler import Denoise, Floats, denoiser_of, heun, karras_sigmas
from training.evaluate import Scorer
from training.export import GraphSource, record
from training.loop import LoopConfig
from training.publish import Artefacts, Description, image_grid

CONFIG = LoopConfig(steps=2600, batch_size=64, learning_rate=1e-3, checkpoint_every=200, seed=0)
EFFORT = Effort(samples=2000, sample_steps=18, denoised=1000, bounded=500, bound_draws=20)


@dataclass(frozen=True)
class DiffusionRecipe:
    """EDM (Karras et al. 2022, arXiv:2206.00364) with a tenth of the labels dropped for classifier-free guidance."""

    name: str = "diffusion-fashion"
    config: LoopConfig = CONFIG
    channels: int = 32
    effort: Effort = EFFORT
    toy: bool = False

    def quick(self) -> "DiffusionRecipe":
        config = replace(self.config, steps=20, batch_size=8, warmup_steps=5, checkpoint_every=10, log_every=10)
        effort = Effort(samples=40, sample_steps=3, denoised=10, bounded=10, bound_draws=4)
        return replace(self, config=config, channels=8, effort=effort, toy=True)

    def load(self, folder: Path) -> Data:
        return toy_images() if self.toy else fashion(folder)

    def network(self, data: Data) -> nn.Module:
        denoiser = Denoiser(len(FASHION_CLASSES), self.channels, sigma_data=float(scaled(data.train[0]).std()))
        # Channels last is a tenth faster; torch's annotations do not know the argument.
        return cast(nn.Module, denoiser.to(memory_format=torch.channels_last))  # type: ignore[call-overload]

    def loss(self, network: nn.Module, batch: tuple[Tensor, ...], generator: torch.Generator) -> Tensor:
        images, labels = batch
        return denoising_loss(cast(Denoiser, network), scaled(images), labels, generator)

    def finish(self, network: nn.Module, data: Data) -> Artefacts:
        denoiser = cast(Denoiser, network)
        graph = GraphSource("denoise", denoiser, example, ("denoised",), atol=1e-4).onnx()
        denoise = denoiser_of(runner(graph.data, graph.spec))
        params = DiffusionParams(
            image_shape=(1, 28, 28),
            classes=FASHION_CLASSES,
            sigma_data=denoiser.sigma_data,
            sigma_min=0.002,
            sigma_max=80.0,
        )
        samples = sample(denoise, params, self.effort.samples, self.effort.sample_steps)
        pixels, scorer = data.train[0].double() / 255, Scorer()
        return Artefacts(
            graphs={"denoise": graph},
            params=params,
            metrics=self._metrics(denoiser, denoise, samples, data, scorer),
            goldens={"denoise": record(graph, _golden_inputs(data)), "sample": _golden_sample(denoise, params)},
            calibration={
                "pixel_mean": pixels.mean(dim=0).float().numpy(),
                "pixel_std": pixels.std(dim=0).float().numpy(),
            },
            samples=image_grid((samples[:80] + 1) / 2, columns=10),
            description=DESCRIPTION,
            scored_by=scorer.provenance,
        )

    def _metrics(
        self, denoiser: Denoiser, denoise: Denoise, samples: Floats, data: Data, scorer: Scorer
    ) -> dict[str, float]:
        test, labels, classes = scaled(data.test[0]).numpy(), data.test[1].numpy(), len(FASHION_CLASSES)
        bounded = slice(self.effort.bounded)
        return {
            "held_out_loss": held_out_loss(denoiser, scaled(data.held_out[0]), data.held_out[1]),
            **sample_metrics(samples, test, scorer, classes, self.effort.sample_steps),
            **denoising_metrics(denoise, test[: self.effort.denoised], no_class=classes),
            **bound_metrics(denoise, test[bounded], labels[bounded], self.effort.bound_draws),
        }


def scaled(images: Tensor) -> Tensor:
    """uint8 -> float32 in [-1, 1]."""
    return images.float() / 127.5 - 1


@torch.no_grad()
def held_out_loss(denoiser: Denoiser, images: Tensor, labels: Tensor) -> float:
    """The training objective on held-out images, with noise that is the same for every model."""
    generator = torch.Generator().manual_seed(0)
    parts = zip(torch.split(images, 250), torch.split(labels, 250), strict=True)
    return float(np.mean([denoising_loss(denoiser, *part, generator).item() for part in parts]))


def example(batch: int) -> dict[str, Tensor]:
    """Inputs of the graph that span its noise levels and labels."""
    generator = torch.Generator().manual_seed(batch)
    log_sigma = P_MEAN + 2 * P_STD * torch.randn(batch, generator=generator)
    noise = torch.randn(batch, 1, 28, 28, generator=generator) * log_sigma.exp()[:, None, None, None]
    label = torch.randint(len(FASHION_CLASSES) + 1, (batch,), generator=generator)
    x = 2 * torch.rand(batch, 1, 28, 28, generator=generator) - 1 + noise
    return {"x": x, "sigma": log_sigma.exp(), "log_sigma": log_sigma, "label": label}


def _golden_inputs(data: Data) -> dict[str, Tensor]:
    """Three test images at three noise levels, the last without its class."""
    inputs, (images, labels) = example(3), data.test
    sigma = torch.tensor([0.05, 0.5, 5.0])
    noisy = scaled(images[:3]) + sigma[:, None, None, None] * inputs["x"]
    label = torch.cat((labels[:2], torch.tensor([len(FASHION_CLASSES)])))
    return {"x": noisy, "sigma": sigma, "log_sigma": sigma.log(), "label": label}


def _golden_sample(denoise: Denoise, params: DiffusionParams) -> Golden:
    """A whole trajectory from noise to images in [-1, 1], which every other sampler must repeat."""
    noise = np.random.default_rng(3).standard_normal((3, *params.image_shape), dtype=np.float32)
    label, steps = np.array([0, 5, 9]), 12
    images = heun(denoise, noise, label, karras_sigmas(steps, params.sigma_min, params.sigma_max, params.rho))
    return Golden({"noise": noise, "label": label, "steps": np.array(steps)}, {"images": images})


DESCRIPTION = Description(
    summary="A class-conditional denoiser of 28x28 clothing images after Karras et al. 2022 (EDM, arXiv:2206.00364): "
    "one graph D(x, sigma, label) that samples, guides and restores. A tenth of the labels was dropped in training, so "
    "the label 10 means no class. The picture shows 80 samples of 18 Heun steps, one class per column.",
    data="Fashion-MNIST, scaled to [-1, 1]: 55,000 images to train, 5,000 held out, 10,000 to test.",
    intended_use="Sampling by class, denoising, and restoration by null-space projection, of images like those of "
    "Fashion-MNIST: grey, 28x28, one centred article on black. `denoised_sigmaN` are single passes without a class on "
    "test images with Gaussian noise of standard deviation N of 255, beside the noisy image and scikit-image's "
    "non-local means. FD-fmnist is the Frechet distance to the training set in the features of "
    "training/metrics/classifier-fashion; the figure for as many test images is its floor. The variational bound is "
    "on -log p(x | class), with 1000 noise levels from 0.006 to 80.",
    limits="It knows nothing but these ten kinds of clothing: other images are pulled towards them. Its figures for "
    "guidance are not measured. FD-fmnist cannot be compared with any published FID.",
)
