"""A variational autoencoder whose evidence is known: x = z + noise, everything Gaussian, as graphs in numpy."""

import io
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import tiny

from model_store.manifest import VaeParams
from model_store.store import CALIBRATION, Model, file_spec
from service.arrays import Array, Arrays

NOISE = 0.5  # the standard deviation of p(x | z) = N(z, NOISE^2); p(z) = N(0, 1)
SPREAD = math.sqrt(1 + NOISE**2)  # of p(x)
EXACT = (1 / SPREAD**2, NOISE / SPREAD)  # the true posterior is N(first x, second^2)
LOOSE = (0.6, 0.7)


def log_normal(x: Array, mean: Array | float, std: float) -> Array:
    return -0.5 * ((x - mean) / std) ** 2 - math.log(std) - 0.5 * math.log(2 * math.pi)


def log_evidence(x: Array) -> Array:
    """log p(x) [n] of rows [n, columns]."""
    return log_normal(x, 0.0, SPREAD).sum(1)


def graphs(shape: tuple[int, ...], posterior: tuple[float, float] = LOOSE) -> dict[str, tiny.NumpyGraph]:
    """The three graphs, with q(z | x) = N(posterior[0] x, posterior[1]^2) and one latent per entry."""
    slope, std = posterior

    def encode(x: Array) -> Arrays:
        assert x.dtype == np.float32
        mean = x.reshape(len(x), -1) * np.float32(slope)
        return {"mean": mean, "std": np.full_like(mean, std)}

    def elbo(x: Array, noise: Array) -> Arrays:
        assert noise.dtype == np.float32
        mean = encode(x)["mean"].astype(float)
        z = mean + std * noise
        terms = log_normal(x.reshape(z.shape), z, NOISE)
        log_ratio = log_normal(z, 0.0, 1.0) - log_normal(z, mean, std)
        values = {
            "log_likelihood": terms.sum(1),
            "kl": (0.5 * (mean**2 + std**2 - 1) - math.log(std)).sum(1),
            "log_weight": (terms + log_ratio).sum(1),
            "terms": terms.reshape(x.shape),
        }
        return {name: value.astype(np.float32) for name, value in values.items()}

    def decode(z: Array, noise: Array) -> Arrays:
        assert z.dtype == noise.dtype == np.float32
        assert 0 < noise.min() <= noise.max() < 1
        mean = z.reshape(len(z), *shape)
        # Not a Gaussian quantile, but a draw with the right mean and spread.
        return {"mean": mean, "sample": mean + (noise - np.float32(0.5)) * np.float32(NOISE * math.sqrt(12))}

    return {
        name: tiny.NumpyGraph(function) for name, function in (("encode", encode), ("elbo", elbo), ("decode", decode))
    }


def data(rows: int, columns: int, seed: int) -> Array:
    """Rows of p(x)."""
    return np.random.default_rng(seed).normal(0, SPREAD, (rows, columns)).astype(np.float32)


def model(folder: Path, shape: tuple[int, ...], latent_size: int | None = None) -> Model:
    """The model, with 999 held-out scores of data of its own."""
    columns, held_out = math.prod(shape), 999
    noise = np.random.default_rng(1).normal(size=(held_out, columns)).astype(np.float32)
    scored = graphs((columns,))["elbo"].function(data(held_out, columns, seed=2), noise)
    scores = {
        "elbo": scored["log_likelihood"] - scored["kl"],
        "reconstruction": scored["log_likelihood"],
        "kl": scored["kl"],
    }
    buffer = io.BytesIO()
    np.savez(buffer, **{f"{name}_held_out": np.sort(values) for name, values in scores.items()})
    (folder / CALIBRATION).write_bytes(buffer.getvalue())
    bare = tiny.model_of(
        VaeParams(event_shape=shape, levels=256 if len(shape) == 3 else None, latent_size=latent_size or columns)
    )
    files = {CALIBRATION: file_spec(buffer.getvalue())}
    return replace(bare, folder=folder, manifest=bare.manifest.model_copy(update={"files": files}))
