"""Requests of every operation of every shipped model, on real data."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from fivefold.diffusion import DiffusionEnhanceRequest, DiffusionSampleRequest
from fivefold.flow import FlowDecodeRequest, FlowEncodeRequest, FlowLogLikelihoodRequest, FlowSampleRequest
from fivefold.images import Image
from fivefold.operation import SeededRequest

DATA = Path(__file__).parent / "data"
Requests = dict[str, list[SeededRequest]]


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
    }


def diffusion_requests() -> Requests:
    half = np.zeros((28, 28), np.uint8)
    half[:, 14:] = 255
    small = fashion(2).reshape(14, 2, 14, 2).mean((1, 3)).astype(np.uint8)
    return {
        "sample": [
            DiffusionSampleRequest(seed=1, steps=4, solver="heun", class_name="bag"),
            DiffusionSampleRequest(seed=2, steps=7, solver="dpmpp_2m", guidance=2.5, class_name="sneaker"),
            DiffusionSampleRequest(seed=3, steps=1, solver="ddim"),
            DiffusionSampleRequest(seed=4, steps=9, solver="ddim", guidance=0.0, class_name="coat"),
        ],
        "enhance": [
            DiffusionEnhanceRequest(task="denoise", images=[png(fashion(0))], sigma=0.2),
            DiffusionEnhanceRequest(task="denoise", images=[png(fashion(1))], mode="sample", steps=5, solver="heun"),
            DiffusionEnhanceRequest(task="super_resolve", images=[png(small)], factor=2, steps=6, seed=8),
            DiffusionEnhanceRequest(task="inpaint", images=[png(fashion(3))], masks=[png(half)], steps=3, guidance=2),
        ],
    }


def shuttle_requests() -> Requests:
    return flow_requests("flow-shuttle", [{"rows": [row]} for row in shuttle_rows(4)], 9)


def fashion_requests() -> Requests:
    return flow_requests("flow-fashion", [{"images": [png(fashion(index))]} for index in range(3)], 784)


REQUESTS: dict[str, Callable[[], Requests]] = {
    "flow-shuttle": shuttle_requests,
    "flow-fashion": fashion_requests,
    "diffusion-fashion": diffusion_requests,
}
"""By model; each gives the requests by the operation's name."""
