"""Picture files in and out: folders, grids, before and after."""

import math
from collections.abc import Sequence
from pathlib import Path

import PIL.Image

from fivefold.errors import InvalidInput
from fivefold.images import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
CELL_PIXELS, GAP_PIXELS, GAP_COLOUR = 112, 4, "white"


def picture_files(source: Path) -> list[Path]:
    """The file itself, or the pictures of a folder by name. Raises InvalidInput where there is none."""
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise InvalidInput(f"{source} does not exist: give a picture, or a folder of pictures")
    files = sorted(path for path in source.iterdir() if path.suffix.lower() in SUFFIXES)
    if not files:
        raise InvalidInput(f"0 pictures in {source}, 1 or more needed ({', '.join(SUFFIXES)}): give another folder")
    return files


def is_folder(path: Path) -> bool:
    """Whether `path` means a folder: it is one, or it has no suffix."""
    return path.is_dir() or (not path.exists() and not path.suffix)


def grid(images: Sequence[Image], columns: int | None = None) -> PIL.Image.Image:
    """The pictures side by side, for the eye: enlarged by a whole factor; a square unless `columns` is given."""
    pictures = [enlarged(image.pil()) for image in images]
    columns = columns or math.ceil(math.sqrt(len(pictures)))
    width, height = (max(sizes) for sizes in zip(*(picture.size for picture in pictures), strict=True))
    step_x, step_y = width + GAP_PIXELS, height + GAP_PIXELS
    rows = math.ceil(len(pictures) / columns)
    modes = {picture.mode for picture in pictures}
    sheet = PIL.Image.new(
        modes.pop() if len(modes) == 1 else "RGB",
        (columns * step_x - GAP_PIXELS, rows * step_y - GAP_PIXELS),
        GAP_COLOUR,
    )
    for index, picture in enumerate(pictures):
        sheet.paste(picture, (index % columns * step_x, index // columns * step_y))
    return sheet


def enlarged(picture: PIL.Image.Image) -> PIL.Image.Image:
    """The same pixels, each as a square, so that a small picture is about CELL_PIXELS large."""
    factor = max(1, CELL_PIXELS // max(picture.size))
    return picture.resize((picture.width * factor, picture.height * factor), PIL.Image.Resampling.NEAREST)
