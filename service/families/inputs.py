"""Data in: the `images` or `rows` of a request as float32 arrays of the model's shape."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fivefold.errors import InvalidInput
from fivefold.operation import InputRequest
from service import images
from service.families.pipeline import Refusal, prepare_each
from service.jobs import Row

LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Inputs:
    """`count` items of the request's field `place`; `read(index)` is one as an array. `read` raises InvalidInput."""

    place: Literal["images", "rows"]
    count: int
    read: Callable[[int], NDArray[np.float32]]


def inputs_of(request: InputRequest, shape: tuple[int, ...]) -> Inputs:
    """The items of a request. A `shape` of three, [C, H, W], means an image: pixels in [0, 1]; another, a table's row.

    Raises InvalidInput where images and rows are both given, or neither, or images for a table.
    """
    if (request.images is None) == (request.rows is None):
        given = "neither images nor rows" if request.images is None else "images and rows both"
        raise InvalidInput(f"{given} given, 1 of the 2 expected: send images, or rows of {math.prod(shape)} numbers")
    if request.rows is not None:
        rows = request.rows
        return Inputs("rows", len(rows), lambda index: _row(rows[index], shape))
    pictures = request.images or []
    if len(shape) != 3:
        raise InvalidInput(
            f"{len(pictures)} images given to a model of {math.prod(shape)} columns: "
            f"send rows of {math.prod(shape)} numbers"
        )
    channels, height, width = shape
    return Inputs("images", len(pictures), lambda index: images.decode(pictures[index].data, (channels, height, width)))


def input_rows(
    request: InputRequest, shape: tuple[int, ...], params: Mapping[str, Any] | None = None, work: float = 1.0
) -> list[Row | Refusal]:
    """A row for every item, its data the array `x`; all with the same params and work. Raises InvalidInput."""
    inputs = inputs_of(request, shape)

    def make(index: int, seed: int) -> Row:
        return Row(index, seed, {"x": inputs.read(index)}, params or {}, work)

    return prepare_each(request, inputs.count, make, inputs.place)


def array_of(numbers: list[float], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Flattened numbers as a float32 array of `shape`. Raises InvalidInput for a wrong count or beyond float32."""
    if len(numbers) != (expected := math.prod(shape)):
        form = f" ({' x '.join(map(str, shape))}, flattened)" if len(shape) == 3 else ""
        raise InvalidInput(f"{len(numbers)} numbers given, {expected} expected: send {expected} numbers{form}")
    values = np.asarray(numbers, np.float64)
    _check_range(values, -LARGEST, LARGEST, "rescale it")
    return values.astype(np.float32).reshape(shape)


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


def _row(numbers: list[float], shape: tuple[int, ...]) -> NDArray[np.float32]:
    values = array_of(numbers, shape)
    if len(shape) == 3:
        _check_range(values.reshape(-1), 0.0, 1.0, "divide 8-bit levels by 255")
    return values


def _check_range(values: NDArray[Any], low: float, high: float, way_out: str) -> None:
    outside = np.flatnonzero((values < low) | (values > high))
    if outside.size:
        entry = int(outside[0])
        raise InvalidInput(f"entry {entry} is {values[entry]:g}, {low:g} to {high:g} is possible: {way_out}")
