"""Data in: the `images`, `rows` or `latents` of a request as float32 arrays of the model's shape."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fivefold.errors import InvalidInput
from fivefold.images import Image
from fivefold.items import UnreadableItem
from fivefold.operation import InputRequest
from service import images
from service.arrays import Array, Arrays
from service.families.pipeline import Prepared, prepare_block, read_each
from service.jobs import Parameters

LARGEST = float(np.finfo(np.float32).max)
Numbers = Sequence[Sequence[float] | Array | UnreadableItem] | Array
"""One list of numbers per item, as JSON has them, or an array [n, D]. NaN is a number that is missing."""


@dataclass(frozen=True)
class Inputs:
    """The items of the request's field `place`: x float32 [k, *shape] of those that can be read, in order; why the
    others cannot, by index."""

    place: Literal["images", "rows"]
    count: int
    x: Array
    refusals: dict[int, str]


def inputs_of(request: InputRequest, shape: tuple[int, ...]) -> Inputs:
    """The items of a request. A `shape` of three, [C, H, W], means an image: pixels in [0, 1]; another, a table's row.

    Raises InvalidInput where images and rows are both given, or neither, or images for a table.
    """
    if (request.images is None) == (request.rows is None):
        given = "neither images nor rows" if request.images is None else "images and rows both"
        raise InvalidInput(f"{given} given, 1 of the 2 expected: send images, or rows of {math.prod(shape)} numbers")
    if request.rows is not None:
        bounds = (0.0, 1.0, "divide 8-bit levels by 255") if len(shape) == 3 else FLOAT32
        return Inputs("rows", len(request.rows), *read_numbers(request.rows, shape, bounds))
    pictures = request.images or []
    if len(shape) != 3:
        raise InvalidInput(
            f"{len(pictures)} images given to a model of {math.prod(shape)} columns: "
            f"send rows of {math.prod(shape)} numbers"
        )
    return Inputs("images", len(pictures), *read_pictures(pictures, (shape[0], shape[1], shape[2])))


def input_block(
    request: InputRequest,
    shape: tuple[int, ...],
    parameters: Parameters,
    work: float = 1.0,
    shared: Arrays | None = None,
) -> Prepared:
    """The block of every item that can be read, its data the column `x`. Raises InvalidInput."""
    read = inputs_of(request, shape)
    columns = {"x": read.x}
    options: dict[str, Any] = {"work": work, "shared": shared, "refusals": read.refusals, "place": read.place}
    return prepare_block(request, parameters, read.count, columns, **options)


Bounds = tuple[float, float, str]
"""The lowest and the highest number that is possible, and what to do about others."""
FLOAT32: Bounds = (-LARGEST, LARGEST, "rescale it")


def read_pictures(pictures: Sequence[Image], shape: tuple[int, int, int]) -> tuple[Array, dict[int, str]]:
    """float32 [k, C, H, W] in [0, 1] of the pictures that can be read, and why the others cannot."""
    read, refusals = read_each(pictures, lambda picture: images.decode(picture.data, shape))
    return _stacked(read, shape), refusals


def read_numbers(numbers: Numbers, shape: tuple[int, ...], bounds: Bounds = FLOAT32) -> tuple[Array, dict[int, str]]:
    """float32 [k, *shape] of the items whose numbers fit, flattened as they are given, and why the others do not."""
    if (matrix := _matrix(numbers, math.prod(shape))) is None:
        read, refusals = read_each(numbers, lambda item: array_of(item, shape, bounds))
        return _stacked(read, shape), refusals
    low, high, _ = bounds
    inside = ((matrix >= low) & (matrix <= high)).all(axis=1)
    refusals = {}
    if not inside.all():
        bad, outside = np.flatnonzero(~inside).tolist(), matrix[~inside]
        _, messages = read_each(outside, lambda item: array_of(item, shape, bounds))
        refusals, matrix = {bad[place]: message for place, message in messages.items()}, matrix[inside]
    return matrix.astype(np.float32).reshape(-1, *shape), refusals


def array_of(numbers: Sequence[float] | Array, shape: tuple[int, ...], bounds: Bounds = FLOAT32) -> NDArray[np.float32]:
    """Flattened numbers as a float32 array of `shape`. Raises InvalidInput for a wrong count, or one out of bounds."""
    if len(numbers) != (expected := math.prod(shape)):
        form = f" ({' x '.join(map(str, shape))}, flattened)" if len(shape) == 3 else ""
        raise InvalidInput(f"{len(numbers)} numbers given, {expected} expected: send {expected} numbers{form}")
    values, (low, high, way_out) = np.asarray(numbers, np.float64), bounds
    outside = np.flatnonzero(~((values >= low) & (values <= high)))
    if outside.size:
        entry = int(outside[0])
        raise InvalidInput(f"entry {entry} is {values[entry]:g}, {low:g} to {high:g} is possible: {way_out}")
    return values.astype(np.float32).reshape(shape)


def _matrix(numbers: Numbers, width: int) -> Array | None:
    """float64 [n, width], or None where some item has another width."""
    if isinstance(numbers, np.ndarray):
        return numbers.astype(np.float64, copy=False) if numbers.shape[1] == width else None
    if any(isinstance(row, UnreadableItem) or len(row) != width for row in numbers):
        return None
    return np.array(numbers, np.float64).reshape(len(numbers), width)


def _stacked(items: Sequence[Array], shape: tuple[int, ...]) -> Array:
    return np.stack(items) if items else np.zeros((0, *shape), np.float32)


@contextmanager
def reading(place: str) -> Iterator[None]:
    """What is refused inside is refused with its place."""
    try:
        yield
    except InvalidInput as error:
        raise InvalidInput.at(place, f"{place}: {error.message}") from error


def class_index(class_name: str, classes: Sequence[str]) -> int:
    """The label of a class. Raises InvalidInput naming every class."""
    if class_name not in classes:
        known = f"{len(classes)} classes: {', '.join(classes)}"
        raise InvalidInput.at("class", f"{class_name!r} is not one of the model's {known}")
    return classes.index(class_name)
