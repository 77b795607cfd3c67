"""Tiny families with known answers: a Gaussian denoiser and an affine flow, as graphs in numpy."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model_store.manifest import DiffusionParams, FlowParams, GraphSpec, Manifest, Params, Provenance
from model_store.store import Model, ModelRef
from service.arrays import Array, Arrays
from service.families.session import Session
from service.jobs import Event, Row

SPREAD = 0.5  # the standard deviation of the tiny denoiser's images
MEANS = np.array([-0.5, 0.5, 0.0], np.float32)  # by label; the last is "no class"
SHIFT, SCALE = 3.0, 2.0  # of the tiny flow: z = (v - shift) / scale


@dataclass
class HostArray:
    """A device array on a device that is the host."""

    array: Array

    def numpy(self) -> Array:
        return self.array


@dataclass
class NumpyGraph:
    """A graph that is a function; `batches` records the rows of each call."""

    function: Callable[..., Arrays]
    spec = GraphSpec(
        file="none.onnx", sha256="0" * 64, size_bytes=0, format="onnx", inputs=(), outputs=(), golden_atol=1e-4
    )
    device = "cpu"

    def __post_init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, **inputs: Array | HostArray) -> Mapping[str, HostArray]:
        arrays = {name: value.numpy() if isinstance(value, HostArray) else value for name, value in inputs.items()}
        self.batches.append(len(next(iter(arrays.values()))))
        return {name: HostArray(array) for name, array in self.function(**arrays).items()}


def model_of(params: Params) -> Model:
    """A model without files."""
    provenance = Provenance(
        commit="none",
        command="none",
        seed=0,
        data={},
        trained_at="never",
        training_seconds=0,
        machine="any",
        licence="Apache-2.0",
    )
    manifest = Manifest(name=f"tiny-{params.family}", version="1", graphs={}, params=params, provenance=provenance)
    return Model(ModelRef(manifest.name, "1", "0" * 64), manifest, Path())


def diffusion_model(shape: tuple[int, int, int] = (1, 8, 8)) -> Model:
    return model_of(
        DiffusionParams(image_shape=shape, classes=("low", "high"), sigma_data=0.5, sigma_min=0.002, sigma_max=80.0)
    )


def gaussian_denoiser(x: Array, sigma: Array, log_sigma: Array, label: Array) -> Arrays:
    """E[x0 | x] for images of independent pixels N(mean of the class, SPREAD^2): exact, and elementwise."""
    assert x.dtype == sigma.dtype == log_sigma.dtype == np.float32
    assert label.dtype == np.int64
    np.testing.assert_allclose(np.exp(log_sigma), sigma, rtol=1e-5)
    variance = np.float32(SPREAD**2)
    shrink = (variance / (variance + sigma * sigma))[:, None, None, None]
    mean = MEANS[label][:, None, None, None]
    return {"denoised": mean + (x - mean) * shrink}


def table_model(columns: int = 3) -> Model:
    names = tuple(f"column-{index}" for index in range(columns))
    return model_of(FlowParams(event_shape=(columns,), columns=names, layers=("affine",)))


def image_flow_model(shape: tuple[int, int, int] = (1, 4, 4)) -> Model:
    return model_of(FlowParams(event_shape=shape, levels=256, layers=("affine",)))


def affine_forward(x: Array, noise: Array) -> Arrays:
    """z = (x + noise - SHIFT) / SCALE with its exact log-density."""
    assert x.dtype == noise.dtype == np.float32
    rows = len(x)
    dequantised = x + noise
    z = (dequantised - np.float32(SHIFT)) / np.float32(SCALE)
    base = -0.5 * z * z - np.float32(0.5 * math.log(2 * math.pi))
    terms = base - np.float32(math.log(SCALE))
    return {
        "z": z,
        "dequantised": dequantised,
        "terms": terms,
        "log_prob": terms.reshape(rows, -1).sum(1),
        "base_log_prob": base.reshape(rows, -1).sum(1),
        "log_dets": np.full((rows, 1), -math.log(SCALE) * z[0].size, np.float32),
    }


def affine_inverse(z: Array) -> Arrays:
    dequantised = z * np.float32(SCALE) + np.float32(SHIFT)
    return {"dequantised": dequantised, "x": np.floor(dequantised)}


def flow_graphs() -> dict[str, NumpyGraph]:
    return {"forward": NumpyGraph(affine_forward), "inverse": NumpyGraph(affine_inverse)}


def run(session: Session, rows: Sequence[Row]) -> list[list[Event]]:
    """Every row's events, with all rows in every step."""
    session.admit([(("job", place), row) for place, row in enumerate(rows)])
    events: list[Event] = []
    while ready := session.ready():
        events += session.step(ready)
    return [[event for event in events if event.row == place] for place in range(len(rows))]
