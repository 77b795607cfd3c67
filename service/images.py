"""Image bytes <-> arrays: limits from the header first, then decode."""

import io
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from PIL.Image import Transpose

from fivefold.errors import InvalidInput
from service.png_chunks import without_metadata

FORMATS = ("PNG", "JPEG", "WEBP")
MODES = {1: "L", 3: "RGB"}  # by channels; grey is ITU-R 601-2 luma, which leaves grey in three channels as it is
ORIENTATION = 0x0112
UPRIGHT = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
"""What turns a picture upright, by its Exif orientation; from 5 on its sides change places."""


def decode(data: bytes, shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """float32 [C, H, W] in [0, 1] of exactly `shape`; what the header says is checked first. Raises InvalidInput.

    A picture of any mode is converted and turned upright. A transparent one is refused: nobody says what is behind it.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _decode(data, shape)
    except InvalidInput:
        raise
    except PIL.UnidentifiedImageError as error:  # whose text names an object in memory
        raise InvalidInput(f"not a readable image: {len(data)} bytes that are no {', '.join(FORMATS)}") from error
    except Exception as error:  # whatever a decoder raises, the bytes are to blame
        raise InvalidInput(f"not a readable image: {error}") from error


def _decode(data: bytes, shape: tuple[int, int, int]) -> NDArray[np.float32]:
    channels, height, width = shape
    image = PIL.Image.open(io.BytesIO(without_metadata(data)), formats=FORMATS)
    orientation = _orientation(image)
    _check_header(image, (height, width) if orientation >= 5 else (width, height))
    pixels = _pixels(image, channels)
    upright = UPRIGHT.get(orientation)
    return pixels if upright is None else _turned(pixels, upright)


def _orientation(image: PIL.Image.Image) -> int:
    """The Exif orientation, 1 to 8; 1 where there is none, or none that can be read."""
    try:
        orientation = int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # metadata must not cost a picture
        return 1
    return orientation if orientation in UPRIGHT else 1


def _check_header(image: PIL.Image.Image, size: tuple[int, int]) -> None:
    if image.size != size:
        given = f"{image.width} x {image.height} pixels given"
        raise InvalidInput(f"{given}, {size[0]} x {size[1]} expected: resize or crop the image")
    if image.format != "MPO" and (frames := getattr(image, "n_frames", 1)) > 1:  # MPO: a photo and its preview
        raise InvalidInput(f"{frames} frames given, 1 expected: send a still image")


def _pixels(image: PIL.Image.Image, channels: int) -> NDArray[np.float32]:
    """float32 [C, H, W] in [0, 1]. Raises InvalidInput for a picture that is transparent anywhere."""
    if image.has_transparency_data and np.asarray(image.convert("RGBA"))[..., 3].min() < 255:
        raise InvalidInput("a transparent image given, an opaque one expected: lay it on a background")
    if image.mode.startswith("I"):  # 16-bit grey, which a conversion to 8 bits would cut off at 255
        grey = np.asarray(image).astype(np.float32) / np.float32(65535)
        return np.repeat(grey[None], channels, axis=0)
    levels = np.atleast_3d(np.asarray(image.convert(MODES[channels])))
    return np.moveaxis(levels, -1, 0).astype(np.float32) / np.float32(255)


def _turned(pixels: NDArray[np.float32], how: Transpose) -> NDArray[np.float32]:
    return np.stack([np.asarray(PIL.Image.fromarray(channel).transpose(how)) for channel in pixels])


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
