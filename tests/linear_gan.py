"""A generative adversarial network that is linear: styles are shifted latents, pixels are styles, as numpy graphs."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import tiny

from model_store.manifest import GanParams
from model_store.store import CALIBRATION, Model, file_spec
from service.arrays import Array, Arrays

CLASSES = ("bag", "coat", "ankle-boot")
SIZE = 4  # of latents, styles and images (2 x 2)
MEANS = np.arange(12, dtype=np.float32).reshape(3, SIZE) / 10  # the mean style, by label
REAL, GENERATED = np.arange(10, dtype=np.float32), np.arange(-5, 5, dtype=np.float32)


def style(z: Array, label: Array, truncation: Array) -> Arrays:
    assert z.dtype == truncation.dtype == np.float32
    assert label.dtype == np.int64
    mean = MEANS[label]
    return {"w": mean + truncation[:, None] * ((z + mean) - mean)}


def synthesise(w: Array, label: Array) -> Arrays:
    assert len(w) == len(label)
    return {"image": (np.float32(0.5) + w / 100).reshape(-1, 1, 2, 2)}


def discriminate(image: Array, label: Array) -> Arrays:
    """The logit of a constant image p is 10 p - 5 - label."""
    return {"logit": 10 * image.mean((1, 2, 3)) - 5 - label.astype(np.float32)}


def graphs() -> dict[str, tiny.NumpyGraph]:
    functions = {"map": style, "synthesise": synthesise, "discriminate": discriminate}
    return {name: tiny.NumpyGraph(function) for name, function in functions.items()}


def model(folder: Path, side: int = 2) -> Model:
    """The model with its held-out logits: 0 to 9 of real images, -5 to 4 of generated ones."""
    buffer = io.BytesIO()
    np.savez(buffer, logit_real=REAL, logit_generated=GENERATED)
    (folder / CALIBRATION).write_bytes(buffer.getvalue())
    params = GanParams(image_shape=(1, side, side), classes=CLASSES, latent_size=SIZE, style_size=SIZE)
    bare = tiny.model_of(params)
    files = {CALIBRATION: file_spec(buffer.getvalue())}
    return replace(bare, folder=folder, manifest=bare.manifest.model_copy(update={"files": files}))
