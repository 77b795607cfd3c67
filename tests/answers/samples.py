"""Data to ask about: rows of the shuttle table, pictures of fashion, latents, and each as a body of every media type.

It uses nothing of the code under test, so that a rewrite cannot change what is asked.
"""

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL.Image

from tests.answers.wire import CSV, NPY

DATA = Path(__file__).parents[1] / "data"
Rows = list[list[float]]


def shuttle(count: int) -> Rows:
    """Rows of 9 columns, all of them different."""
    rows = np.load(DATA / "shuttle_500.npz")["rows"].astype(float)
    picked = np.arange(count)
    return (rows[picked % len(rows)] + (picked // len(rows))[:, None]).tolist()


def fashion(count: int) -> np.ndarray:
    """uint8 [count, 28, 28]."""
    return np.load(DATA / "fashion_test_500.npz")["images"][:count]


def pixels(count: int) -> Rows:
    """Pictures as rows of 784 numbers in [0, 1]."""
    return (fashion(count).reshape(count, -1) / 255).tolist()


def latents(count: int, size: int) -> Rows:
    return np.random.default_rng(size).normal(size=(count, size)).round(6).tolist()


def small(count: int, factor: int) -> np.ndarray:
    """Pictures whose sides are shorter by `factor`."""
    side = 28 // factor
    return fashion(count).reshape(count, side, factor, side, factor).mean((2, 4)).astype(np.uint8)


def half_mask() -> np.ndarray:
    mask = np.zeros((28, 28), np.uint8)
    mask[:, 14:] = 255
    return mask


def png(picture: np.ndarray, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(picture).save(buffer, format=kind)
    return buffer.getvalue()


def base64_png(pictures: Sequence[np.ndarray] | np.ndarray, kind: str = "PNG") -> list[str]:
    return [base64.b64encode(png(picture, kind)).decode() for picture in pictures]


def npy(rows: Rows, dtype: str = "<f8") -> tuple[str, bytes]:
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(rows, dtype), allow_pickle=False)
    return NPY, buffer.getvalue()


def csv(rows: Sequence[Sequence[object]], header: Sequence[str] = ()) -> tuple[str, bytes]:
    lines = ([list(header)] if header else []) + [list(row) for row in rows]
    return CSV, "".join(",".join(map(str, line)) + "\n" for line in lines).encode()
