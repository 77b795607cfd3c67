"""Interpolation between two latents: along the great circle, where the norm stays typical, or the straight line."""

import math
from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np

from fivefold.errors import InvalidInput
from service.arrays import Array
from service.families.pipeline import map_values
from service.jobs import Floats

PARALLEL_RADIANS = 1e-6
PathName = Literal["slerp", "lerp"]


def positions(frames: int) -> Floats:
    """float64 [frames], evenly from 0 to 1, both included."""
    return np.linspace(0, 1, frames)


def great_circle(start: Array, end: Array, positions: Floats) -> Array:
    """float32 [k, D] at positions [k] in [0, 1]: the direction turns evenly (slerp: Shoemake 1985, "Animating rotation
    with quaternion curves"), the norm changes linearly from |start| to |end|.

    Raises InvalidInput where an end is zero, or the ends are opposite: then there are many shortest paths.
    """
    norms = [_norm(latents.astype(np.float64)) for latents in (start, end)]
    if min(norms) == 0:
        raise _without_path(f"latents of norms {norms[0]:g} and {norms[1]:g} given, more than 0 needed")
    units = [latents.astype(np.float64) / norm for latents, norm in zip((start, end), norms, strict=True)]
    angle = 2 * math.atan2(_norm(units[0] - units[1]), _norm(units[0] + units[1]))
    if math.pi - angle < PARALLEL_RADIANS:
        raise _without_path(f"latents {math.degrees(angle):g} degrees apart given, fewer than 180 needed")
    norm = (1 - positions) * norms[0] + positions * norms[1]
    points: Array = (norm[:, None] * _turned(units[0], units[1], angle, positions)).astype(np.float32)
    return points


def straight_line(start: Array, end: Array, positions: Floats) -> Array:
    """float32 [k, D] at positions [k] in [0, 1]."""
    points: Array = _weighted(1 - positions, start.astype(np.float64), positions, end.astype(np.float64))
    return points.astype(np.float32)


PATHS: Mapping[PathName, Callable[[Array, Array, Floats], Array]] = {"slerp": great_circle, "lerp": straight_line}


def both_ends(x: Array, refusals: Mapping[int, str], place: str) -> Array:
    """x [2, ...], the ends in the request's field `place`. Raises InvalidInput naming one that is refused."""
    for index, message in sorted(refusals.items()):
        raise InvalidInput.at(f"{place}.{index}", f"{place}.{index}: {message}")
    return x


def _turned(start: Array, end: Array, angle: float, positions: Floats) -> Array:
    if angle < PARALLEL_RADIANS:  # the sines vanish; the chord is the arc
        return _weighted(1 - positions, start, positions, end)
    return _weighted(
        map_values(math.sin, (1 - positions) * angle), start, map_values(math.sin, positions * angle), end
    ) / math.sin(angle)


def _weighted(start_weights: Floats, start: Array, end_weights: Floats, end: Array) -> Array:
    """[k, D] of ends [D] and weights [k]."""
    points: Array = start_weights[:, None] * start + end_weights[:, None] * end
    return points


def _norm(latents: Array) -> float:
    return math.sqrt(float(np.square(latents).sum()))


def _without_path(given: str) -> InvalidInput:
    return InvalidInput.at("latents", f"{given}: choose other ends, or a straight line")
