"""The autoencoder's sessions: bound, encode, decode, reconstruct."""

from collections.abc import Mapping, Sequence

import numpy as np

from model_store.manifest import VaeParams
from model_store.store import Model
from service import rng
from service.arrays import Array, Arrays
from service.families.pipeline import params_of
from service.families.session import OneShot, Session, by_row, latents
from service.families.vae.bound import Bound, posterior_noise
from service.graph import Graph
from service.jobs import Row

PRIOR_STREAM, DATA_STREAM = 1, 2


def open_sessions(model: Model, graphs: Mapping[str, Graph]) -> Mapping[str, Session]:
    """Sessions of a loaded autoencoder, by kind."""
    params, encoder, decoder = params_of(model, VaeParams), graphs["encode"], graphs["decode"]

    def encode(rows: Sequence[Row]) -> list[Arrays]:
        outputs = encoder(x=np.stack([row.arrays["x"] for row in rows]))
        return by_row({name: outputs[name].numpy() for name in ("mean", "std")})

    def decode(rows: Sequence[Row]) -> list[Arrays]:
        return _decode(decoder, rows, [latents(row, PRIOR_STREAM, (params.latent_size,)) for row in rows], params)

    def reconstruct(rows: Sequence[Row]) -> list[Arrays]:
        codes = [_code(row, posterior) for row, posterior in zip(rows, encode(rows), strict=True)]
        decoded = _decode(decoder, rows, codes, params)
        return [
            {**one, "mean_absolute_error": np.array(np.abs(one["x"] - row.arrays["x"]).mean(dtype=np.float64))}
            for one, row in zip(decoded, rows, strict=True)
        ]

    return {
        "bound": Bound(graphs["elbo"], params.latent_size),
        "encode": OneShot(encode, ("encode",)),
        "decode": OneShot(decode, ("decode",)),
        "reconstruct": OneShot(reconstruct, ("encode", "decode")),
    }


def _code(row: Row, posterior: Arrays) -> Array:
    """The posterior's mean, or a draw."""
    if row.params["output"] == "mean":
        return posterior["mean"]
    drawn: Array = posterior["mean"] + posterior["std"] * posterior_noise(row.seed, 0, len(posterior["mean"]))
    return drawn


def _decode(decoder: Graph, rows: Sequence[Row], codes: Sequence[Array], params: VaeParams) -> list[Arrays]:
    """E[x | z], or a draw from p(x | z), as each row asks."""
    noise = np.stack([rng.uniform_float32(row.seed, DATA_STREAM, 0, params.event_shape) for row in rows])
    outputs = decoder(z=np.stack(codes), noise=noise)
    answers = {"mean": outputs["mean"].numpy(), "draw": outputs["sample"].numpy()}
    return [{"x": np.array(answers[row.params["output"]][place])} for place, row in enumerate(rows)]
