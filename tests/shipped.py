"""Requests of every operation of every shipped model, on real data."""

import io
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import rendering

from fivefold.diffusion import DiffusionEnhanceRequest, DiffusionSampleRequest
from fivefold.flow import (
    FlowDecodeRequest,
    FlowEncodeRequest,
    FlowInterpolateRequest,
    FlowLogLikelihoodRequest,
    FlowSampleRequest,
)
from fivefold.gan import GanInterpolateRequest, GanSampleRequest, GanScoreRequest
from fivefold.images import Image
from fivefold.operation import SeededRequest
from fivefold.transformer import (
    TransformerDetokenizeRequest,
    TransformerGenerateRequest,
    TransformerScoreRequest,
    TransformerTokenizeRequest,
)
from fivefold.vae import (
    VaeAnomalyRequest,
    VaeDecodeRequest,
    VaeElboRequest,
    VaeEncodeRequest,
    VaeReconstructRequest,
    VaeSampleRequest,
)
from model_store.store import Model, Store
from service.families.pipeline import Fields
from service.families.registry import FAMILIES
from service.graph import Graph
from service.runtime import onnx
from service.settings import Settings

DATA = Path(__file__).parent / "data"
Requests = dict[str, list[SeededRequest]]


@cache
def loaded(name: str) -> tuple[Model, dict[str, Graph]]:
    """A shipped model with its graphs, on one engine thread."""
    model, settings = Store().resolve(name), Settings(intra_op_threads=1)
    specs = model.manifest.graphs
    return model, {graph: onnx.load_graph(model.graph(graph), spec, settings) for graph, spec in specs.items()}


def answers(name: str, operation: str, request: SeededRequest) -> list[Fields]:
    """What a shipped model answers, with all rows in one batch."""
    model, graphs = loaded(name)
    family = next(family for family in FAMILIES if family.name == model.manifest.params.family)
    pipeline = next(pipeline for pipeline in family.pipelines if pipeline.operation.name == operation)
    return rendering.answers(family, pipeline, request, model, graphs)


def shuttle_rows(count: int) -> list[list[float]]:
    return np.load(DATA / "shuttle_500.npz")["rows"][:count].astype(float).tolist()


def fashion(index: int) -> np.ndarray:
    return np.load(DATA / "fashion_test_500.npz")["images"][index]


def png(pixels: np.ndarray) -> Image:
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, format="PNG")
    return Image(buffer.getvalue())


def flow_requests(model: str, inputs: list[dict[str, Any]], latent_size: int) -> Requests:
    latents = np.random.default_rng(0).normal(size=(3, latent_size)).tolist()
    return {
        "log-likelihood": [
            FlowLogLikelihoodRequest(**data, model=model, seed=seed, include_terms=seed == 1)
            for seed, data in enumerate(inputs)
        ],
        "encode": [FlowEncodeRequest(**data, model=model, seed=9) for data in inputs],
        "decode": [FlowDecodeRequest(latents=[latent], model=model) for latent in latents],
        "sample": [FlowSampleRequest(model=model, seed=seed, temperature=0.5 + seed / 4) for seed in range(3)],
        "interpolate": [
            FlowInterpolateRequest(**_both(inputs), model=model, frames=frames, path=path)
            for frames, path in ((2, "slerp"), (3, "lerp"))
        ],
    }


def _both(inputs: list[dict[str, Any]]) -> dict[str, Any]:
    """The data of the first two inputs."""
    (field,) = inputs[0]
    return {field: [*inputs[0][field], *inputs[1][field]]}


def diffusion_requests() -> Requests:
    half = np.zeros((28, 28), np.uint8)
    half[:, 14:] = 255
    small = fashion(2).reshape(14, 2, 14, 2).mean((1, 3)).astype(np.uint8)
    return {
        "sample": [
            DiffusionSampleRequest(seed=1, steps=2, solver="heun", class_name="bag"),
            DiffusionSampleRequest(seed=2, steps=3, solver="dpmpp_2m", guidance=2.5, class_name="sneaker"),
            DiffusionSampleRequest(seed=3, steps=1, solver="ddim"),
            DiffusionSampleRequest(seed=4, steps=4, solver="ddim", guidance=0.0, class_name="coat"),
        ],
        "enhance": [
            DiffusionEnhanceRequest(task="denoise", images=[png(fashion(0))], sigma=0.2),
            DiffusionEnhanceRequest(task="denoise", images=[png(fashion(1))], mode="sample", steps=2, solver="heun"),
            DiffusionEnhanceRequest(task="super_resolve", images=[png(small)], factor=2, steps=3, seed=8),
            DiffusionEnhanceRequest(task="inpaint", images=[png(fashion(3))], masks=[png(half)], steps=2, guidance=2),
            DiffusionEnhanceRequest(task="super_resolve", images=[png(small)], steps=2, seed=8, num_samples=3),
        ],
    }


def transformer_requests() -> Requests:
    prose = "It is a truth universally acknowledged, that a single man must be in want of a wife."
    return {
        "generate": [
            TransformerGenerateRequest(prompt="The people", seed=1, max_tokens=8),
            TransformerGenerateRequest(prompt=prose, temperature=0, max_tokens=5, logprobs=2),
            TransformerGenerateRequest(prompt="My dear", seed=2, temperature=1.5, top_k=50, top_p=0.9, max_tokens=3),
            TransformerGenerateRequest(prompt="Naïve", seed=3, max_tokens=10, stop=["e ", "the"], stop_tokens=[0, 9]),
        ],
        "score": [
            TransformerScoreRequest(prompt="It is", texts=[" a truth universally"]),
            TransformerScoreRequest(tokens=[[52, 72, 69]]),
        ],
        "tokenize": [TransformerTokenizeRequest(texts=[prose])],
        "detokenize": [TransformerDetokenizeRequest(tokens=[[52, 72, 69]])],
    }


def vae_requests(model: str, inputs: list[dict[str, Any]], latent_size: int) -> Requests:
    latents = np.random.default_rng(0).normal(size=(2, latent_size)).tolist()
    return {
        "anomaly": [
            VaeAnomalyRequest(**data, model=model, score=score, include_terms=score != "kl")
            for data, score in zip(inputs, ("elbo", "reconstruction", "kl"), strict=True)
        ],
        "elbo": [VaeElboRequest(**inputs[0], model=model, samples=draws, seed=draws) for draws in (1, 3, 8)],
        "encode": [VaeEncodeRequest(**data, model=model) for data in inputs],
        "decode": [
            VaeDecodeRequest(latents=[latent], model=model, output=output)
            for latent, output in zip(latents, ("mean", "draw"), strict=True)
        ],
        "reconstruct": [VaeReconstructRequest(**inputs[1], model=model, output=output) for output in ("mean", "draw")],
        "sample": [
            VaeSampleRequest(model=model, seed=1),
            VaeSampleRequest(model=model, seed=2, output="draw", temperature=0.7),
        ],
    }


def gan_requests(model: str) -> Requests:
    latents = np.random.default_rng(0).normal(size=(3, 64)).tolist()
    return {
        "sample": [
            GanSampleRequest(model=model, seed=1, class_name="bag"),
            GanSampleRequest(model=model, seed=2, truncation=0.5),
            GanSampleRequest(model=model, latents=latents[:1], class_name="coat", seed=3),
        ],
        "interpolate": [
            GanInterpolateRequest(model=model, seeds=[3, 8], class_name="dress", frames=3),
            GanInterpolateRequest(model=model, latents=latents[1:], frames=2, space="w", truncation=0.7),
        ],
        "score": [
            GanScoreRequest(model=model, images=[png(fashion(0))], class_name="ankle-boot"),
            GanScoreRequest(model=model, images=[png(fashion(1))]),
        ],
    }


def shuttle_requests() -> Requests:
    return flow_requests("flow-shuttle", [{"rows": [row]} for row in shuttle_rows(4)], 9)


def fashion_requests() -> Requests:
    return flow_requests("flow-fashion", [{"images": [png(fashion(index))]} for index in range(3)], 784)


def vae_shuttle_requests() -> Requests:
    return vae_requests("vae-shuttle", [{"rows": [row]} for row in shuttle_rows(3)], 8)


def vae_fashion_requests() -> Requests:
    return vae_requests("vae-fashion", [{"images": [png(fashion(index))]} for index in range(3)], 64)


REQUESTS: dict[str, Callable[[], Requests]] = {
    "flow-shuttle": shuttle_requests,
    "flow-fashion": fashion_requests,
    "diffusion-fashion": diffusion_requests,
    "transformer-english": transformer_requests,
    "vae-shuttle": vae_shuttle_requests,
    "vae-fashion": vae_fashion_requests,
    "gan-fashion": partial(gan_requests, "gan-fashion"),
    "gan-fashion-minimax": partial(gan_requests, "gan-fashion-minimax"),
}
"""By model; each gives the requests by the operation's name."""
