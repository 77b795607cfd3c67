"""Image bytes <-> arrays: limits from the header first, then decode."""

import io
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageOps
from numpy.typing import NDArray

from fivefold.errors import InvalidInput

FORMATS = ("PNG", "JPEG", "WEBP")
CHANNELS = {"L": 1, "RGB": 3}


def decode(data: bytes, shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """float32 [C, H, W] in [0, 1] of exactly `shape`; what the header says is checked first. Raises InvalidInput."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)
            image = PIL.Image.open(io.BytesIO(data), formats=FORMATS)
            _check_header(image, shape)
            pixels = np.asarray(PIL.ImageOps.exif_transpose(image))
    except PIL.UnidentifiedImageError as error:  # whose text names an object in memory
        raise InvalidInput(f"not a readable image: {len(data)} bytes that are no {', '.join(FORMATS)}") from error
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError) as error:
        raise InvalidInput(f"not a readable image: {error}") from error
    return np.moveaxis(np.atleast_3d(pixels), -1, 0).astype(np.float32) / np.float32(255)


def _check_header(image: PIL.Image.Image, shape: tuple[int, int, int]) -> None:
    channels, height, width = shape
    if image.size != (width, height):
        given = f"{image.width} x {image.height} pixels given"
        raise InvalidInput(f"{given}, {width} x {height} expected: resize or crop the image")
    if (frames := getattr(image, "n_frames", 1)) > 1:
        raise InvalidInput(f"{frames} frames given, 1 expected: send a still image")
    if CHANNELS.get(image.mode) != channels:
        wanted = "8-bit grey (L)" if channels == 1 else "8-bit RGB"
        given = f"{len(image.getbands())} channels of mode {image.mode} given"
        raise InvalidInput(f"{given}, {channels} expected: convert the image to {wanted}, without alpha")


def encode_png(pixels: NDArray[Any]) -> bytes:
    """PNG of float [C, H, W] in [0, 1], rounded to 8 bits."""
    buffer = io.BytesIO()
    _picture(pixels).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def encode_apng(frames: Sequence[NDArray[Any]], frame_ms: int) -> bytes:
    """Animated PNG, for ever around, of frames as in `encode_png`; each is shown for `frame_ms`."""
    first, *others = map(_picture, frames)
    buffer = io.BytesIO()
    first.save(buffer, format="PNG", save_all=True, append_images=others, duration=frame_ms, loop=0, compress_level=1)
    return buffer.getvalue()


def _picture(pixels: NDArray[Any]) -> PIL.Image.Image:
    levels = np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
    return PIL.Image.fromarray(levels[0] if levels.shape[0] == 1 else np.moveaxis(levels, 0, -1))
