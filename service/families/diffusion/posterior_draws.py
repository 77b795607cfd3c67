"""Several draws of the same rows: the first, and their mean and spread."""

from collections.abc import Sequence

import numpy as np

from service.arrays import Array, Arrays


def summarise(draws: Sequence[Arrays]) -> dict[str, Array]:
    """The first draw's columns [k, ...]; of several also the pixels' mean, and twice their standard deviation."""
    if len(draws) == 1:
        return dict(draws[0])
    images = np.stack([draw["image"] for draw in draws])
    spread = {"mean": images.mean(axis=0, dtype=np.float64), "uncertainty": 2 * images.std(axis=0, dtype=np.float64)}
    return {**draws[0], **{name: array.astype(np.float32) for name, array in spread.items()}}
