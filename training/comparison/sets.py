"""The data that models are compared on: images and strangers to them, a table with outliers, English."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.comparison.estimate import Floats
from training.data import Data, fashion, shuttle, toy_images, toy_table
from training.strangers import digits, distorted
from training.transformer.corpus import Documents, english, toy_prose

Domain = Literal["images", "table", "text"]


@dataclass(frozen=True)
class Rows:
    """Rows [N, *event] as on the wire: a test set like the training data, and strangers to it by name."""

    test: Floats
    strangers: Mapping[str, Floats]


@dataclass(frozen=True)
class Sets:
    """At most `count` images of each kind, the whole table, whole texts; each read when it is asked for.

    Images are float32 in [0, 1], columns as they are. `toy` sets need no download.
    """

    folder: Path
    count: int
    toy: bool = False

    @cached_property
    def images(self) -> Rows:
        """Fashion-MNIST's test images beside MNIST digits, inverted and flipped test images, and noise."""
        test = self._fashion.test[0][: self.count]
        strangers = {**self._digits(), **distorted(test)}
        return Rows(_pixels(test), {name: _pixels(images) for name, images in strangers.items()})

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """The classes [N] of the test images."""
        labels: NDArray[np.int64] = self._fashion.test[1][: self.count].numpy()
        return labels

    @cached_property
    def held_out_images(self) -> Floats:
        """Images that neither a model was trained on nor a figure is measured on."""
        return _pixels(self._fashion.held_out[0][: self.count])

    @cached_property
    def table(self) -> Rows:
        """Shuttle's test normals beside its outliers, by ADBench's rule."""
        rows, outlier = (part.numpy() for part in (toy_table() if self.toy else shuttle(self.folder)).test)
        return Rows(rows[~outlier], {"outliers": rows[outlier]})

    @cached_property
    def documents(self) -> Documents:
        """Addresses and a novel that the transformer has not read."""
        return toy_prose() if self.toy else english(self.folder)

    def rows(self, domain: Domain) -> Rows:
        """The images, or the table."""
        return self.table if domain == "table" else self.images

    def test_bytes(self, domain: Domain) -> bytes:
        """What a general compressor gets: an image's pixels, and texts in UTF-8."""
        if domain == "text":
            return "".join(self.documents.test).encode()
        return self._fashion.test[0][: self.count].numpy().tobytes()

    @cached_property
    def _fashion(self) -> Data:
        return toy_images() if self.toy else fashion(self.folder)

    def _digits(self) -> dict[str, Tensor]:
        if self.toy:
            return {}
        images = digits(self.folder)  # in the order of their classes
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
        return {"digits": images[order[: self.count]]}


def _pixels(images: Tensor) -> Floats:
    pixels: Floats = images.numpy() / np.float32(255)
    return pixels
