"""Answers by media type: JSON, NPY, CSV or one picture."""

import base64
import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args

import numpy as np
import orjson
from pydantic import BaseModel
from starlette.responses import Response

from fivefold.errors import NotAcceptable, item_error
from fivefold.images import Image
from fivefold.operation import APNG_TYPE, CSV_TYPE, JSON_TYPE, NPY_TYPE, PNG_TYPE, AnyOperation, FailedItem
from model_store.store import Model
from service.arrays import Array, Ragged
from service.families.pipeline import FieldColumns, Fields
from service.images import encode_apng, encode_png

FRAME_MS = 80


@dataclass(frozen=True)
class Rendered:
    """An answer before it is encoded. `fields` are columns of the finished items, in order, `index` and `seed` first;
    `errors` are the other items, by index.
    """

    operation: AnyOperation
    model: Model
    fields: FieldColumns
    errors: Mapping[int, Fields]
    parameters: Mapping[str, Any]
    meta: Mapping[str, Any]
    gives_numbers: bool = False

    @property
    def finished(self) -> int:
        return len(self.fields["index"])

    @property
    def skips(self) -> bool:
        """Whether the request wants the other items although some have failed."""
        return bool(self.parameters["on_error"] == "skip")


def encode(media_type: str, rendered: Rendered) -> Response:
    """The response. Raises NotAcceptable where this answer does not fit the media type, or its first item's error."""
    if media_type == JSON_TYPE:
        return Response(encode_json(document(rendered)), media_type=JSON_TYPE)
    if rendered.errors and not (rendered.skips and media_type in WITH_ERRORS):
        first = rendered.errors[min(rendered.errors)]["error"]
        message = (
            f"{len(rendered.errors)} of {rendered.finished + len(rendered.errors)} items failed ({first['message']}); "
            f"{media_type} has no place for them: {_way_out(media_type)}"
        )
        raise item_error(first["code"], message, of_input=rendered.gives_numbers)
    return Response(ENCODERS[media_type](rendered), headers=_headers(rendered), media_type=media_type)


def _way_out(media_type: str) -> str:
    return (
        'accept application/json, or send on_error="skip"' if media_type in WITH_ERRORS else "accept application/json"
    )


def document(rendered: Rendered) -> Fields:
    """The answer as JSON has it."""
    items = items_of(rendered.fields, item_images(rendered.operation))
    if rendered.errors:
        items = sorted([*items, *rendered.errors.values()], key=lambda item: item["index"])
    return {"items": items, "parameters": rendered.parameters, "meta": rendered.meta}


def items_of(fields: FieldColumns, pictures: frozenset[str] = frozenset()) -> list[Fields]:
    """The columns item by item, these pictures as base64 PNG."""
    values = [map(_png_text, column) if name in pictures else _item_values(column) for name, column in fields.items()]
    return [dict(zip(fields, item, strict=True)) for item in zip(*values, strict=True)]


def with_pictures(fields: Fields, pictures: frozenset[str]) -> Fields:
    """The same fields of one item, with images as base64 PNG."""
    return {name: _png_text(value) if name in pictures else value for name, value in fields.items()}


def _png_text(pixels: Array) -> str:
    return base64.b64encode(encode_png(pixels)).decode("ascii")


def _item_values(column: Sequence[Any] | Array | Ragged) -> Sequence[Any]:
    """One value for each item: numbers of a column [k], arrays of one [k, ...]."""
    if isinstance(column, np.ndarray):
        return column.tolist() if column.ndim == 1 else list(np.ascontiguousarray(column))
    return list(column) if isinstance(column, Ragged) else column


def encode_json(value: object) -> bytes:
    return orjson.dumps(value, default=lambda array: array.tolist(), option=orjson.OPT_SERIALIZE_NUMPY)


def item_images(operation: AnyOperation) -> frozenset[str]:
    """The names of the fields of an operation's items that are images."""
    answer: Any = operation.answer
    return _item_images(answer)


@cache
def _item_images(answer: type[BaseModel]) -> frozenset[str]:
    (union,) = get_args(answer.model_fields["items"].annotation)
    return image_fields(next(kind for kind in get_args(union) if kind is not FailedItem))


def image_fields(model: type[BaseModel]) -> frozenset[str]:
    """The names of the fields that are images."""
    fields = model.model_fields.items()
    return frozenset(name for name, field in fields if Image in (field.annotation, *get_args(field.annotation)))


def _headers(rendered: Rendered) -> dict[str, str]:
    meta = rendered.meta
    return {
        "fivefold-model": f"{meta['model']['name']}@{meta['model']['version']}",
        "fivefold-digest": meta["model"]["digest"],
        "fivefold-exactness": meta["exactness"],
        "fivefold-scope": meta["scope"],
        "fivefold-receipt": meta["receipt"],
        "fivefold-seed": str(rendered.fields["seed"][0]),
        **({"fivefold-failed": _ranges(sorted(rendered.errors))} if rendered.errors else {}),
        **{f"fivefold-{name.replace('_', '-')}": f"{value:.3f}" for name, value in meta["timing"].items()},
    }


def _ranges(indices: Sequence[int]) -> str:
    """Ascending integers as a list with ranges: 0, 3-5, 9."""
    starts = [place for place, index in enumerate(indices) if place == 0 or indices[place - 1] != index - 1]
    spans = [
        (indices[start], indices[stop - 1]) for start, stop in zip(starts, [*starts[1:], len(indices)], strict=True)
    ]
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)


def _main(rendered: Rendered) -> tuple[str, Array]:
    """The field that binary answers carry, and its values, [k, ...]."""
    name = next(name for name in rendered.operation.main if name in rendered.fields)
    column = rendered.fields[name]
    return name, np.stack(list(column)) if isinstance(column, Ragged) else np.asarray(column)


def _npy(rendered: Rendered) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, _with_failed(rendered, np.asarray(_main(rendered)[1], np.float32)), allow_pickle=False)
    return buffer.getvalue()


def _with_failed(rendered: Rendered, values: Array) -> Array:
    """The values of all items, NaN where one has failed."""
    if not rendered.errors:
        return np.ascontiguousarray(values)
    every = np.full((len(values) + len(rendered.errors), *values.shape[1:]), np.nan, values.dtype)
    every[np.asarray(rendered.fields["index"])] = values
    return every


def _images(rendered: Rendered) -> Array:
    """The images, [k, C, H, W]. Raises NotAcceptable where items have none."""
    name, values = _main(rendered)
    if name not in item_images(rendered.operation):
        raise NotAcceptable(f"{rendered.model.ref} answers {name}, not an image: accept {JSON_TYPE} or {CSV_TYPE}")
    return values


def _png(rendered: Rendered) -> bytes:
    images = _images(rendered)
    if len(images) != 1 and not rendered.operation.sequence:
        raise NotAcceptable(f"{len(images)} images asked, image/png holds 1: ask for 1, or accept {JSON_TYPE}")
    return encode_png(np.concatenate(list(images), axis=2))


def _apng(rendered: Rendered) -> bytes:
    return encode_apng(list(_images(rendered)), FRAME_MS)


def _csv(rendered: Rendered) -> bytes:
    """One line an item. A request that skips gets a column more, `error`: empty, or why the item has failed."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    names, lines = _csv_table(rendered)
    writer.writerow([*names, "error"] if rendered.skips else names)
    writer.writerows(_with_errors(rendered, names, lines) if rendered.skips else lines)
    return buffer.getvalue().encode()


def _csv_table(rendered: Rendered) -> tuple[Sequence[str], Iterable[Sequence[Any]]]:
    """The names of the columns, and a line for each finished item."""
    name, values = _main(rendered)
    if values.ndim == 1:
        columns = {key: _item_values(column) for key, column in rendered.fields.items()}
        scalars = {key: column for key, column in columns.items() if isinstance(column[0], int | float)}
        return list(scalars), zip(*scalars.values(), strict=True)
    table = values.reshape(len(values), -1)
    return _columns(name, table.shape[1], rendered.model), table.tolist()


def _with_errors(rendered: Rendered, names: Sequence[str], lines: Iterable[Sequence[Any]]) -> Iterator[Sequence[Any]]:
    """The lines of all items, in their order."""
    finished = iter(lines)
    for index in range(rendered.finished + len(rendered.errors)):
        if index not in rendered.errors:
            yield [*next(finished), ""]
            continue
        error = rendered.errors[index]["error"]
        yield [*(index if name == "index" else "" for name in names), f"{error['code']}: {error['message']}"]


def _columns(name: str, count: int, model: Model) -> Sequence[str]:
    columns: Sequence[str] = getattr(model.manifest.params, "columns", ())
    return columns if name == "row" and len(columns) == count else [f"{name}_{index}" for index in range(count)]


ENCODERS: Mapping[str, Callable[[Rendered], bytes]] = {
    NPY_TYPE: _npy,
    PNG_TYPE: _png,
    APNG_TYPE: _apng,
    CSV_TYPE: _csv,
}
WITH_ERRORS = (CSV_TYPE, NPY_TYPE)
