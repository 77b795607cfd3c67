"""Request bodies, read within their limit: JSON, NPY, CSV and pictures become one validated request."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args, get_origin

from starlette.datastructures import QueryParams
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from fivefold.csv_dialect import CsvOptions
from fivefold.errors import InvalidInput, PayloadTooLarge, UnsupportedMediaType
from fivefold.images import Image
from fivefold.operation import CSV_TYPE, JSON_TYPE, NPY_TYPE, AnyOperation, SeededRequest
from service.api.media.json_body import read_json
from service.api.media.number_table import NumberTable
from service.api.media.problem_json import validate
from service.api.media.read_csv import read_csv
from service.api.media.read_npy import read_npy


async def read_body(headers: Mapping[str, str], receive: Receive, max_bytes: int) -> bytes:
    """The body. Raises PayloadTooLarge as soon as it is known to be larger, declared or not; UnsupportedMediaType;
    ClientDisconnect.
    """
    if (coding := headers.get("content-encoding", "identity")) != "identity":
        raise UnsupportedMediaType(f"content-encoding {coding[:60]!r} given: send the body as it is")
    if int(declared := headers.get("content-length", "0")) > max_bytes:
        raise _too_large(declared, max_bytes)
    pieces, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        pieces.append(message.get("body", b""))
        size, more = size + len(pieces[-1]), message.get("more_body", False)
        if size > max_bytes:
            raise _too_large(f"{size} and more", max_bytes)
    return b"".join(pieces)


def _too_large(given: str, max_bytes: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"{given} bytes given, the limit is {max_bytes}: send fewer items in each request")


def read_request(
    operation: AnyOperation, content_type: str, query_string: bytes, body: bytes, max_rows: int
) -> SeededRequest:
    """The request. JSON holds every field; another body fills one, and the query string has the rest.

    Raises InvalidInput, UnsupportedMediaType.
    """
    if body and not content_type:
        raise UnsupportedMediaType(f"no content-type given; {_accepted(operation)}")
    media_type = content_type.partition(";")[0].strip().lower() or JSON_TYPE
    model: type[SeededRequest] = operation.request
    if media_type == JSON_TYPE:
        if query_string and (query := QueryParams(query_string)):
            raise InvalidInput(f"{len(query)} query parameters given beside a JSON body: put them into the body")
        return read_json(model, body, max_rows)
    if media_type not in operation.bodies:
        raise UnsupportedMediaType(f"content-type {media_type[:60]!r} given; {_accepted(operation)}")
    return _read_table_or_picture(operation, media_type, QueryParams(query_string), body, max_rows)


def _accepted(operation: AnyOperation) -> str:
    return f"this operation reads {', '.join((JSON_TYPE, *operation.bodies))}"


def _read_table_or_picture(
    operation: AnyOperation, media_type: str, query: QueryParams, body: bytes, max_rows: int
) -> SeededRequest:
    model, filled = operation.request, operation.bodies[media_type]
    if filled in query:
        raise InvalidInput(f"{filled} given in the query and in the body: leave it out of the query")
    fields = _from_query(model, query)
    data = _read_data(media_type, fields, body, max_rows)
    request: SeededRequest = validate(model, lambda: model.model_validate({**fields, filled: data}))
    if isinstance(data, NumberTable):
        data.refuse(filled, skip=request.on_error == "skip")
    return request


def _read_data(media_type: str, fields: dict[str, Any], body: bytes, max_rows: int) -> NumberTable | list[Image]:
    """What the body holds. The fields that say how CSV is to be read are taken out of `fields`."""
    if media_type == NPY_TYPE:
        return read_npy(body, max_rows)
    if media_type != CSV_TYPE:
        return [Image(body)]
    given = {name: fields.pop(name) for name in CsvOptions.model_fields if name in fields}
    return read_csv(body, validate(CsvOptions, lambda: CsvOptions.model_validate(given)), max_rows)


def _from_query(model: type[SeededRequest], query: QueryParams) -> dict[str, Any]:
    kinds = {field.alias or name: field.annotation for name, field in model.model_fields.items()}
    return {name: _from_text(kinds.get(name), query.getlist(name)) for name in query}


def _from_text(kind: Any, texts: list[str]) -> Any:
    """Texts as pydantic takes them: it reads numbers from text by itself, but not the numbers of a Literal."""
    if _is_list(kind) or any(map(_is_list, get_args(kind))):
        return texts
    choices = {str(choice): choice for choice in get_args(kind)} if get_origin(kind) is Literal else {}
    return choices.get(texts[-1], texts[-1])


def _is_list(kind: Any) -> bool:
    return get_origin(get_args(kind)[0] if get_origin(kind) is Annotated else kind) is list
