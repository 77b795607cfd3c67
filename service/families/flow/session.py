"""The flow's sessions, all of one step: score, encode, invert, interpolate."""

from collections.abc import Mapping, Sequence

import numpy as np

from model_store.manifest import FlowParams
from model_store.store import Model
from service import rng
from service.arrays import Array, Columns
from service.families.family import Sessions
from service.families.flow.parameters import FlowEncoding, FlowInterpolation, FlowInversion, FlowScore
from service.families.interpolation import PATHS
from service.families.pipeline import params_of
from service.families.session import OneShot, block_seeds, by_block, dense, gather, latents, parameters_of
from service.graph import DeviceArray, Graph
from service.jobs import Block, Integers
from service.settings import Settings

NOISE_STREAM, LATENT_STREAM = 0, 1
SCORES = ("log_prob", "base_log_prob", "log_dets")


def open_sessions(model: Model, graphs: Mapping[str, Graph], settings: Settings) -> Sessions:
    """Sessions of a loaded flow, by kind."""
    forward, inverse, shape = graphs["forward"], graphs["inverse"], params_of(model, FlowParams).event_shape

    def score(blocks: Sequence[Block]) -> Sequence[Columns]:
        return _score(forward, inverse, blocks)

    def encode(blocks: Sequence[Block]) -> Sequence[Columns]:
        return by_block({"z": _forward(forward, blocks)["z"].numpy()}, blocks)

    def decode(z: Array, blocks: Sequence[Block]) -> Sequence[Columns]:
        return by_block({"x": inverse(z=z)["x"].numpy()}, blocks)

    def invert(blocks: Sequence[Block]) -> Sequence[Columns]:
        temperatures = [parameters_of(block, FlowInversion).temperature for block in blocks]
        return decode(latents(blocks, LATENT_STREAM, shape, temperatures), blocks)

    def interpolate(blocks: Sequence[Block]) -> Sequence[Columns]:
        return decode(_interpolated(forward, blocks, shape), blocks)

    return {
        FlowScore: OneShot(score),
        FlowEncoding: OneShot(encode),
        FlowInversion: OneShot(invert),
        FlowInterpolation: OneShot(interpolate),
    }


def _forward(forward: Graph, blocks: Sequence[Block]) -> Mapping[str, DeviceArray]:
    return _dequantised(forward, gather(blocks, "x"), block_seeds(blocks))


def _dequantised(forward: Graph, x: Array, seeds: Integers) -> Mapping[str, DeviceArray]:
    """The forward graph of x [n, *event] with uniform noise, one draw of each row's seed."""
    return forward(x=x, noise=rng.uniform_float32(seeds, NOISE_STREAM, 0, x.shape[1:]))


def _interpolated(forward: Graph, blocks: Sequence[Block], shape: tuple[int, ...]) -> Array:
    """z [n, *event] of each row's frame, on the path between the latents of its block's two ends."""
    parameters = [parameters_of(block, FlowInterpolation) for block in blocks]
    ends = np.concatenate([block.shared["ends"] for block in blocks])
    seeds = np.array([own.seeds for own in parameters], np.int64).reshape(-1)
    pairs = _dequantised(forward, ends, seeds)["z"].numpy().reshape(len(blocks), 2, -1)
    points = [
        PATHS[own.path](pair[0], pair[1], dense(block, "position"))
        for block, own, pair in zip(blocks, parameters, pairs, strict=True)
    ]
    return np.concatenate(points).reshape(-1, *shape)


def _score(forward: Graph, inverse: Graph, blocks: Sequence[Block]) -> Sequence[Columns]:
    """The scores, and max |f^-1(f(v)) - v| over each row's dequantised values v."""
    outputs = _forward(forward, blocks)
    returned = inverse(z=outputs["z"])["dequantised"].numpy()
    deviation = np.abs(returned - outputs["dequantised"].numpy()).reshape(len(returned), -1)
    scores = {name: outputs[name].numpy() for name in SCORES} | {"round_trip_error": deviation.max(axis=1)}
    return _with_terms(by_block(scores, blocks), outputs["terms"], blocks)


def _with_terms(
    scored: Sequence[dict[str, Array]], terms: DeviceArray, blocks: Sequence[Block]
) -> Sequence[dict[str, Array]]:
    """The terms of the blocks that ask for them, beside their scores."""
    asked = [parameters_of(block, FlowScore).include_terms for block in blocks]
    if any(asked):
        for scores, own, include_terms in zip(scored, by_block({"terms": terms.numpy()}, blocks), asked, strict=True):
            scores.update(own if include_terms else {})
    return scored
