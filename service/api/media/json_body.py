"""JSON bodies -> requests: counted before they are built, and read item by item where one item is bad."""

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, from_json

from fivefold.errors import InvalidInput
from fivefold.items import MAX_ITEMS, KeepRead
from service.api.media.json_fragments import cut_object
from service.api.media.json_items import SMALL_BYTES, ItemReader, is_whole, with_integers
from service.api.media.problem_json import invalid_input_of, validate

ModelT = TypeVar("ModelT", bound=BaseModel)
MAX_ENTRIES = 2**17  # of a field that holds no items
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_json(model: type[ModelT], body: bytes, max_items: int = MAX_ITEMS) -> ModelT:
    """A request of at most so many items. An integer is what JSON Schema calls one: 2.0, too. Raises InvalidInput.

    Of a request that skips bad items, an item that cannot be read is an UnreadableItem.
    """
    body = body.removeprefix(BYTE_ORDER_MARK) or b"{}"
    if len(body) > SMALL_BYTES:
        return _read_by_item(model, body, max_items)
    try:
        return model.model_validate_json(body, strict=True)
    except ValidationError as error:
        if not any(_is_reread(one, model) for one in error.errors(include_url=False)):
            raise invalid_input_of(error, model) from error
        return _read_by_item(model, body, max_items)


def _is_reread(error: ErrorDetails, model: type[BaseModel]) -> bool:
    """Whether an error is that of an item, or of a number that is an integer after all."""
    place = error["loc"]
    return (len(place) > 1 and place[0] in item_readers(model)) or is_whole(error)


def _read_by_item(model: type[ModelT], body: bytes, max_items: int) -> ModelT:
    fragments, readers = cut_object(body, _names(model)), item_readers(model)
    skip = fragments.get("on_error") == b'"skip"'
    items = {name: raw for name, raw in fragments.items() if name in readers and raw.startswith(b"[")}
    fields = {name: _field(name, raw) for name, raw in fragments.items() if name not in items}
    fields |= {name: readers[name].read(raw, max_items, skip=skip) for name, raw in items.items()}
    return validate(model, lambda: model.model_validate(fields, strict=True))


def _field(name: str, raw: bytes) -> Any:
    """What a field says that holds no items. Raises InvalidInput for one that is too long to be built."""
    entries = raw.count(b",") + raw.count(b"[") + raw.count(b"{")
    if entries > MAX_ENTRIES and not raw.startswith(b'"'):
        message = f"{entries} entries given, {MAX_ENTRIES} are possible: send fewer"
        raise InvalidInput.at(name, f"{name}: {message}")
    try:
        return with_integers(from_json(raw))
    except ValueError as error:
        raise InvalidInput.at(name, f"{name}: Invalid JSON: {error}") from error


@cache
def _names(model: type[BaseModel]) -> tuple[str, ...]:
    """Every name that a field may be given by."""
    return tuple(sorted({*model.model_fields} | {field.alias for field in model.model_fields.values() if field.alias}))


@cache
def item_readers(model: type[BaseModel]) -> Mapping[str, ItemReader]:
    """A reader for each field that holds items."""
    kinds = {name: _item_type(field) for name, field in model.model_fields.items()}
    return {name: ItemReader(name, kind) for name, kind in kinds.items() if kind is not None}


def _item_type(field: FieldInfo) -> Any:
    """T of a field of `Items[T]`, or of `Items[T] | None`; None for another field."""
    if KeepRead in field.metadata:
        return get_args(field.annotation)[0]
    for kind in get_args(field.annotation):
        if get_origin(kind) is Annotated and KeepRead in kind.__metadata__:
            return get_args(get_args(kind)[0])[0]
    return None
