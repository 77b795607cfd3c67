"""The autoencoder's sessions: bound, encode, decode, reconstruct."""

from collections.abc import Mapping, Sequence

import numpy as np

from model_store.manifest import VaeParams
from model_store.store import Model
from service import rng
from service.arrays import Array, Arrays, Columns
from service.families.family import Sessions
from service.families.pipeline import params_of
from service.families.session import OneShot, block_seeds, by_block, gather, latents, parameters_of
from service.families.vae.bound import Bound, posterior_noise
from service.families.vae.parameters import Output, VaeBound, VaeDecoding, VaeEncoding, VaeReconstruction
from service.graph import Graph
from service.jobs import Block, Floats
from service.settings import Settings

PRIOR_STREAM, DATA_STREAM = 1, 2


def open_sessions(model: Model, graphs: Mapping[str, Graph], settings: Settings) -> Sessions:
    """Sessions of a loaded autoencoder, by kind."""
    params, encoder, decoder = params_of(model, VaeParams), graphs["encode"], graphs["decode"]

    def encode(blocks: Sequence[Block]) -> Sequence[Columns]:
        return by_block(_posterior(encoder, blocks), blocks)

    def decode(blocks: Sequence[Block]) -> Sequence[Columns]:
        asked = [parameters_of(block, VaeDecoding) for block in blocks]
        z = latents(blocks, PRIOR_STREAM, (params.latent_size,), [own.temperature for own in asked])
        return by_block({"x": _decode(decoder, z, blocks, [own.output for own in asked], params)}, blocks)

    def reconstruct(blocks: Sequence[Block]) -> Sequence[Columns]:
        outputs = [parameters_of(block, VaeReconstruction).output for block in blocks]
        codes = _codes(_posterior(encoder, blocks), blocks, outputs)
        x = _decode(decoder, codes, blocks, outputs, params)
        return by_block({"x": x, "mean_absolute_error": _mean_absolute(x - gather(blocks, "x"))}, blocks)

    return {
        VaeBound: Bound(graphs["elbo"], params.latent_size),
        VaeEncoding: OneShot(encode),
        VaeDecoding: OneShot(decode),
        VaeReconstruction: OneShot(reconstruct),
    }


def _posterior(encoder: Graph, blocks: Sequence[Block]) -> Arrays:
    outputs = encoder(x=gather(blocks, "x"))
    return {name: outputs[name].numpy() for name in ("mean", "std")}


def _drawing(blocks: Sequence[Block], outputs: Sequence[Output]) -> Array:
    """[n], True where the row's block asks for a draw."""
    return np.repeat([output == "draw" for output in outputs], [len(block) for block in blocks])


def _codes(posterior: Arrays, blocks: Sequence[Block], outputs: Sequence[Output]) -> Array:
    """[n, D]: each row's posterior mean, or a draw."""
    drawn, codes = _drawing(blocks, outputs), np.array(posterior["mean"])
    noise = posterior_noise(block_seeds(blocks)[drawn], 0, codes.shape[1])
    codes[drawn] += posterior["std"][drawn] * noise
    return codes


def _decode(decoder: Graph, z: Array, blocks: Sequence[Block], outputs: Sequence[Output], params: VaeParams) -> Array:
    """[n, *event]: E[x | z], or a draw from p(x | z), as each row's block asks. Only a draw depends on the noise."""
    drawn = _drawing(blocks, outputs)
    noise = np.full((len(z), *params.event_shape), 0.5, np.float32)
    noise[drawn] = rng.uniform_float32(block_seeds(blocks)[drawn], DATA_STREAM, 0, params.event_shape)
    decoded = decoder(z=z, noise=noise)
    if not drawn.any():
        return decoded["mean"].numpy()
    x = np.array(decoded["sample"].numpy())
    x[~drawn] = decoded["mean"].numpy()[~drawn]
    return x


def _mean_absolute(differences: Array) -> Floats:
    """float64 [n] of float32 [n, ...]."""
    magnitudes: Array = np.abs(differences).reshape(len(differences), -1).astype(np.float64)
    means: Floats = magnitudes.mean(axis=1)
    return means
