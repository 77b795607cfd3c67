"""Tiny families with known answers: a Gaussian denoiser and an affine flow, as graphs in numpy."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from model_store.manifest import DiffusionParams, FlowParams, GraphSpec, Manifest, Params, Provenance
from model_store.store import Model, ModelRef
from service.arrays import Array, Arrays, item_of
from service.families.session import Session
from service.jobs import Block, Failure, Integers, Range

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


class ItemEvent(NamedTuple):
    """One event of one item."""

    kind: str
    step: int
    arrays: Arrays
    failure: Failure | None


def run(session: Session, *blocks: Block) -> list[list[ItemEvent]]:
    """Every item's events, block after block, with all that are ready in every step."""
    live = {str(place): np.ones(len(block), np.bool_) for place, block in enumerate(blocks)}
    events = {name: [list[ItemEvent]() for _ in alive] for name, alive in live.items()}
    for (name, alive), block in zip(live.items(), blocks, strict=True):
        session.admit(Range(name, 0, len(alive)), block)
    while resident := [one for name, alive in live.items() for one in ranges_of(name, np.flatnonzero(alive))]:
        for of in session.step(session.ready(resident)):
            places = blocks[int(of.job_id)].positions(of.rows)
            for index, place in enumerate(places.tolist()):
                item = ItemEvent(of.kind, int(of.steps[index]), item_of(of.columns, index), of.failure)
                events[of.job_id][place].append(item)
            live[of.job_id][places] &= not of.terminal
    return [items for of_block in events.values() for items in of_block]


def ranges_of(job_id: str, places: Integers) -> list[Range]:
    """These positions of a block, ascending, as ranges."""
    runs = np.split(places, np.flatnonzero(np.diff(places) > 1) + 1)
    return [Range(job_id, int(run[0]), int(run[-1]) + 1) for run in runs if len(run)]
