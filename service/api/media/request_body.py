"""Request bodies, read within their limit: JSON, NPY, CSV and pictures become one validated request."""

import csv
import io
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args, get_origin

import numpy as np
from starlette.datastructures import QueryParams
from starlette.requests import Request

from fivefold.errors import Invalid, InvalidInput, PayloadTooLarge, UnsupportedMediaType
from fivefold.images import Image
from fivefold.operation import CSV_TYPE, JSON_TYPE, NPY_TYPE, PNG_TYPE, AnyOperation, SeededRequest
from service.api.media.problem_json import validated

NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)


async def read_body(request: Request, max_bytes: int) -> bytes:
    """The body. Raises PayloadTooLarge as soon as it is known to be larger, declared or not; UnsupportedMediaType."""
    if (coding := request.headers.get("content-encoding", "identity")) != "identity":
        raise UnsupportedMediaType(f"content-encoding {coding[:60]!r} given: send the body as it is")
    if int(request.headers.get("content-length", 0)) > max_bytes:
        raise _too_large(request.headers["content-length"], max_bytes)
    pieces, size = [], 0
    async for piece in request.stream():
        size += len(piece)
        if size > max_bytes:
            raise _too_large(f"{size} and more", max_bytes)
        pieces.append(piece)
    return b"".join(pieces)


def _too_large(given: str, max_bytes: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"{given} bytes given, the limit is {max_bytes}: send fewer items in each request")


def read_request(operation: AnyOperation, content_type: str, query: QueryParams, body: bytes) -> SeededRequest:
    """The request. JSON holds every field; another body fills one, and the query string has the rest.

    Raises InvalidInput, UnsupportedMediaType.
    """
    media_type = content_type.partition(";")[0].strip().lower() or JSON_TYPE
    model: type[SeededRequest] = operation.request
    if media_type == JSON_TYPE:
        if query:
            raise InvalidInput(f"{len(query)} query parameters given beside a JSON body: put them into the body")
        return validated(model, lambda: model.model_validate_json(body or b"{}", strict=True))
    if media_type not in operation.bodies:
        accepted = ", ".join((JSON_TYPE, *operation.bodies))
        raise UnsupportedMediaType(f"content-type {media_type[:60]!r} given; this operation reads {accepted}")
    filled = operation.bodies[media_type]
    if filled in query:
        raise InvalidInput(f"{filled} given in the query and in the body: leave it out of the query")
    fields = _from_query(model, query) | {filled: READERS[media_type](body)}
    return validated(model, lambda: model.model_validate(fields))


def _from_query(model: type[SeededRequest], query: QueryParams) -> dict[str, Any]:
    kinds = {field.alias or name: field.annotation for name, field in model.model_fields.items()}
    return {name: _from_text(kinds.get(name), query.getlist(name)) for name in query}


def _from_text(kind: Any, texts: list[str]) -> Any:
    """Texts as pydantic takes them: it reads numbers from text by itself, but not the numbers of a Literal."""
    if get_origin(kind) is list or any(get_origin(part) is list for part in get_args(kind)):
        return texts
    choices = {str(choice): choice for choice in get_args(kind)} if get_origin(kind) is Literal else {}
    return choices.get(texts[-1], texts[-1])


def read_npy(body: bytes) -> list[list[float]]:
    """Numbers [n, ...] as n flat lists; the header is checked before the data is touched. Raises InvalidInput."""
    stream = io.BytesIO(body)
    shape, fortran, dtype = _npy_header(stream)
    if dtype.kind not in "fiu":
        raise InvalidInput(f"an array of {dtype} given, floats or integers expected")
    if not shape or min(shape) < 1:
        raise InvalidInput(f"an array of shape {shape} given, [n, ...] expected with n of 1 or more")
    data = body[stream.tell() :]
    if len(data) != (expected := math.prod(shape) * dtype.itemsize):
        raise InvalidInput(f"{len(data)} bytes of data given, shape {shape} of {dtype} needs {expected}")
    array = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
    rows: list[list[float]] = array.reshape(len(array), -1).astype(np.float64).tolist()
    return rows


def _npy_header(stream: io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    try:
        version = np.lib.format.read_magic(stream)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        return read_header(stream)
    except Exception as error:  # a forged header raises whatever numpy's tokenizer, parser and types happen to raise
        raise InvalidInput(f"not an .npy file of numbers: {str(error)[:200]}") from error


def read_csv(body: bytes) -> list[list[float]]:
    """One row a line; a first line without a single number is a header. Raises InvalidInput naming row and column."""
    try:
        lines = [line for line in csv.reader(io.StringIO(body.decode("utf-8-sig")), strict=True) if line]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput(f"not CSV in UTF-8: {error}") from error
    if lines and not any(NUMBER.fullmatch(cell) for cell in lines[0]):
        del lines[0]
    return [[_number(cell, row, column) for column, cell in enumerate(line)] for row, line in enumerate(lines)]


def _number(cell: str, row: int, column: int) -> float:
    if not NUMBER.fullmatch(cell):
        message = f"row {row + 1} column {column + 1}: {cell[:60]!r} given, a number expected"
        raise InvalidInput(message, invalid=[Invalid(place=f"rows.{row}.{column}", message=message)])
    return float(cell)


READERS: Mapping[str, Callable[[bytes], Any]] = {
    NPY_TYPE: read_npy,
    CSV_TYPE: read_csv,
    PNG_TYPE: lambda body: [Image(body)],
}
