"""How long and how often every table measures."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """`seconds` per cell, `repeats` of each cell, and the engine's `threads` where an engine runs."""

    seconds: float = 3.0
    repeats: int = 3
    threads: int = 1


def spread(values: list[float], digits: int = 0) -> str:
    """The median, and the lowest and highest: "120 (110-125)"."""
    ordered = sorted(values)
    low, middle, high = (f"{value:.{digits}f}" for value in (ordered[0], ordered[len(ordered) // 2], ordered[-1]))
    return f"{middle} ({low}-{high})"
