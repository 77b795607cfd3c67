"""The flow's sessions, all of one step: score, encode, inverse, between."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from model_store.manifest import FlowParams
from model_store.store import Model
from service import rng
from service.arrays import Array, Arrays
from service.families.path import great_circle, straight_line
from service.families.pipeline import params_of
from service.families.session import OneShot, Session, by_row, latents
from service.graph import DeviceArray, Graph
from service.jobs import Row

NOISE_STREAM, LATENT_STREAM = 0, 1
SCORES = ("log_prob", "base_log_prob", "log_dets", "terms")
WAYS = {"slerp": great_circle, "lerp": straight_line}


def open_sessions(model: Model, graphs: Mapping[str, Graph]) -> Mapping[str, Session]:
    """Sessions of a loaded flow, by kind."""
    forward, inverse, shape = graphs["forward"], graphs["inverse"], params_of(model, FlowParams).event_shape

    def score(rows: Sequence[Row]) -> list[Arrays]:
        return _score(forward, inverse, rows)

    def encode(rows: Sequence[Row]) -> list[Arrays]:
        return by_row({"z": _forward(forward, rows)["z"].numpy()})

    def invert(rows: Sequence[Row]) -> list[Arrays]:
        return by_row({"x": inverse(z=np.stack([latents(row, LATENT_STREAM, shape) for row in rows]))["x"].numpy()})

    def between(rows: Sequence[Row]) -> list[Arrays]:
        return by_row({"x": inverse(z=_between(forward, rows, shape))["x"].numpy()})

    return {
        "score": OneShot(score, ("forward", "inverse")),
        "encode": OneShot(encode, ("forward",)),
        "inverse": OneShot(invert, ("inverse",)),
        "between": OneShot(between, ("forward", "inverse")),
    }


def dequantisation_noise(seed: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Uniform on (0, 1), as one draw of a row's seed."""
    return rng.uniform_float32(seed, NOISE_STREAM, 0, shape)


def _forward(forward: Graph, rows: Sequence[Row]) -> Mapping[str, DeviceArray]:
    x = np.stack([row.arrays["x"] for row in rows])
    noise = np.stack([dequantisation_noise(row.seed, row.arrays["x"].shape) for row in rows])
    return forward(x=x, noise=noise)


def _between(forward: Graph, rows: Sequence[Row], shape: tuple[int, ...]) -> Array:
    """z [n, *event] of each row's frame, on the way between the latents of its two ends."""
    ends = [
        Row(row.index, seed, {"x": end})
        for row in rows
        for seed, end in zip(row.params["seeds"], row.arrays["ends"], strict=True)
    ]
    pairs = _forward(forward, ends)["z"].numpy().reshape(len(rows), 2, -1)
    points = [
        WAYS[row.params["path"]](pair[0], pair[1], row.params["position"])
        for row, pair in zip(rows, pairs, strict=True)
    ]
    return np.stack(points).reshape(len(rows), *shape)


def _score(forward: Graph, inverse: Graph, rows: Sequence[Row]) -> list[Arrays]:
    """The scores, and max |f^-1(f(v)) - v| over each row's dequantised values v."""
    outputs = _forward(forward, rows)
    returned = inverse(z=outputs["z"])["dequantised"].numpy()
    deviation = np.abs(returned - outputs["dequantised"].numpy()).reshape(len(rows), -1)
    scored = by_row({name: outputs[name].numpy() for name in SCORES} | {"round_trip_error": deviation.max(axis=1)})
    return [
        {name: array for name, array in scores.items() if name != "terms" or row.params["include_terms"]}
        for row, scores in zip(rows, scored, strict=True)
    ]
