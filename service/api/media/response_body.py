"""Answers by media type: JSON, NPY, CSV or one picture."""

import base64
import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import orjson
from pydantic import BaseModel
from starlette.responses import Response

from fivefold.errors import NotAcceptable, error_of
from fivefold.images import Image
from fivefold.operation import APNG_TYPE, CSV_TYPE, JSON_TYPE, NPY_TYPE, PNG_TYPE, AnyOperation, FailedItem
from model_store.store import Model
from service.arrays import Array
from service.families.pipeline import Fields
from service.images import encode_apng, encode_png

FRAME_MS = 80


@dataclass(frozen=True)
class Rendered:
    """An answer before it is encoded: items hold arrays, or an `error`."""

    operation: AnyOperation
    model: Model
    items: Sequence[Fields]
    parameters: Mapping[str, Any]
    meta: Mapping[str, Any]


def encode(media_type: str, rendered: Rendered) -> Response:
    """The response. Raises NotAcceptable where this answer does not fit the media type, or its first item's error."""
    if media_type == JSON_TYPE:
        return Response(encode_json(document(rendered)), media_type=JSON_TYPE)
    if failed := [item for item in rendered.items if "error" in item]:
        message = failed[0]["error"]["message"]
        raise error_of(failed[0]["error"]["code"])(
            f"{len(failed)} of {len(rendered.items)} items failed ({message}); {media_type} has no place for errors: "
            "accept application/json"
        )
    return Response(ENCODERS[media_type](rendered), headers=_headers(rendered), media_type=media_type)


def document(rendered: Rendered) -> Fields:
    """The answer as JSON has it."""
    pictures = image_fields(item_type(rendered.operation))
    items = [with_pictures(item, pictures) for item in rendered.items]
    return {"items": items, "parameters": rendered.parameters, "meta": rendered.meta}


def encode_json(value: object) -> bytes:
    return orjson.dumps(value, default=lambda array: array.tolist(), option=orjson.OPT_SERIALIZE_NUMPY)


def with_pictures(fields: Fields, pictures: frozenset[str]) -> Fields:
    """The same fields, with images as base64 PNG."""
    return {
        name: base64.b64encode(encode_png(value)).decode("ascii") if name in pictures else value
        for name, value in fields.items()
    }


def item_type(operation: AnyOperation) -> type[BaseModel]:
    """The type of an operation's items."""
    (union,) = get_args(operation.answer.model_fields["items"].annotation)
    item: type[BaseModel] = next(kind for kind in get_args(union) if kind is not FailedItem)
    return item


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
        "fivefold-seed": str(rendered.items[0]["seed"]),
        **{f"fivefold-{name.replace('_', '-')}": f"{value:.3f}" for name, value in meta["timing"].items()},
    }


def _main(rendered: Rendered) -> tuple[str, list[Array]]:
    """The field that binary answers carry, and its value in each item."""
    name = next(name for name in rendered.operation.main if name in rendered.items[0])
    return name, [np.asarray(item[name]) for item in rendered.items]


def _npy(rendered: Rendered) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.stack(_main(rendered)[1]).astype(np.float32), allow_pickle=False)
    return buffer.getvalue()


def _images(rendered: Rendered) -> list[Array]:
    """The image of each item. Raises NotAcceptable where items have none."""
    name, values = _main(rendered)
    if name not in image_fields(item_type(rendered.operation)):
        raise NotAcceptable(f"{rendered.model.ref} answers {name}, not an image: accept {JSON_TYPE} or {CSV_TYPE}")
    return values


def _png(rendered: Rendered) -> bytes:
    images = _images(rendered)
    if len(images) != 1 and not rendered.operation.sequence:
        raise NotAcceptable(f"{len(images)} images asked, image/png holds 1: ask for 1, or accept {JSON_TYPE}")
    return encode_png(np.concatenate(images, axis=2))


def _apng(rendered: Rendered) -> bytes:
    return encode_apng(_images(rendered), FRAME_MS)


def _csv(rendered: Rendered) -> bytes:
    name, values = _main(rendered)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    if values[0].ndim == 0:
        scalars = [key for key, value in rendered.items[0].items() if isinstance(value, int | float)]
        writer.writerow(scalars)
        writer.writerows([item[key] for key in scalars] for item in rendered.items)
    else:
        writer.writerow(_columns(name, values[0].size, rendered.model))
        writer.writerows(value.reshape(-1).tolist() for value in values)
    return buffer.getvalue().encode()


def _columns(name: str, count: int, model: Model) -> Sequence[str]:
    columns: Sequence[str] = getattr(model.manifest.params, "columns", ())
    return columns if name == "row" and len(columns) == count else [f"{name}_{index}" for index in range(count)]


ENCODERS: Mapping[str, Callable[[Rendered], bytes]] = {
    NPY_TYPE: _npy,
    PNG_TYPE: _png,
    APNG_TYPE: _apng,
    CSV_TYPE: _csv,
}
