"""Named arrays, and the fingerprint of an answer."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Arrays = Mapping[str, Array]


def all_finite(arrays: Arrays) -> bool:
    """False where any float array holds NaN or an infinity."""
    return all(np.isfinite(array).all() for array in arrays.values() if array.dtype.kind == "f")


def fingerprint(items: Iterable[Arrays]) -> str:
    """sha256 over names, types, shapes and bytes: equal answers have equal fingerprints, and only they."""
    digest = hashlib.sha256()
    for arrays in items:
        digest.update(b"\n")
        for name in sorted(arrays):
            array = np.ascontiguousarray(arrays[name])
            digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
            digest.update(array.data)
    return digest.hexdigest()
