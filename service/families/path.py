"""The ways between two latents: the great circle, on which the norm stays typical, and the straight line."""

import math

import numpy as np

from fivefold.errors import InvalidInput
from service.arrays import Array

PARALLEL_RADIANS = 1e-6


def positions(frames: int) -> list[float]:
    """Evenly from 0 to 1, both included."""
    return [float(position) for position in np.linspace(0, 1, frames)]


def great_circle(start: Array, end: Array, position: float) -> Array:
    """float32 [D] at `position` in [0, 1]: the direction turns evenly (slerp: Shoemake 1985, "Animating rotation with
    quaternion curves"), the norm goes straight from |start| to |end|.

    Raises InvalidInput where an end is zero, or the ends are opposite: then no way is the shortest.
    """
    norms = [_norm(latents.astype(np.float64)) for latents in (start, end)]
    if min(norms) == 0:
        raise _without_way(f"latents of norms {norms[0]:g} and {norms[1]:g} given, more than 0 needed")
    units = [latents.astype(np.float64) / norm for latents, norm in zip((start, end), norms, strict=True)]
    angle = 2 * math.atan2(_norm(units[0] - units[1]), _norm(units[0] + units[1]))
    if math.pi - angle < PARALLEL_RADIANS:
        raise _without_way(f"latents {math.degrees(angle):g} degrees apart given, fewer than 180 needed")
    norm = (1 - position) * norms[0] + position * norms[1]
    point: Array = (norm * _turned(units[0], units[1], angle, position)).astype(np.float32)
    return point


def straight_line(start: Array, end: Array, position: float) -> Array:
    """float32 [D] at `position` in [0, 1]."""
    point: Array = ((1 - position) * start.astype(np.float64) + position * end.astype(np.float64)).astype(np.float32)
    return point


def _turned(start: Array, end: Array, angle: float, position: float) -> Array:
    if angle < PARALLEL_RADIANS:  # the sines vanish; the chord is the arc
        return (1 - position) * start + position * end
    return (math.sin((1 - position) * angle) * start + math.sin(position * angle) * end) / math.sin(angle)


def _norm(latents: Array) -> float:
    return math.sqrt(float(np.square(latents).sum()))


def _without_way(given: str) -> InvalidInput:
    return InvalidInput.at("latents", f"{given}: choose other ends, or a straight line")
