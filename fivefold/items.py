"""Lists of items: bounded, read up to the first bad one, or read already, each item by itself."""

from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import Field, GetCoreSchemaHandler, SerializerFunctionWrapHandler, ValidatorFunctionWrapHandler
from pydantic_core import CoreSchema, PydanticKnownError, core_schema

MAX_ITEMS = 65_536
T = TypeVar("T")


@dataclass(frozen=True)
class UnreadableItem:
    """An item that cannot be read: what was given, as JSON has it, and why it is refused."""

    given: Any
    message: str


class ReadItems(list[Any]):
    """Items that have been read one by one: values, and an UnreadableItem in the place of each that cannot be read."""


class KeepRead:
    """Lets Python code give an array [n, D], or ReadItems, in the place of n items: they are kept as they are, and
    become lists in JSON.

    Of these only the number of items is checked. JSON is read as if this were not here.
    """

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        lists = handler(source)
        least, most = lists.get("min_length", 0), lists["max_length"]

        def keep(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
            if not is_read(value):
                return validate(value)
            bounds = {"field_type": "List", "actual_length": len(value)}
            if len(value) < least:
                raise PydanticKnownError("too_short", {**bounds, "min_length": least})
            if len(value) > most:
                raise PydanticKnownError("too_long", {**bounds, "max_length": most})
            return value

        return core_schema.json_or_python_schema(
            json_schema=lists,
            python_schema=core_schema.no_info_wrap_validator_function(keep, lists),
            serialization=core_schema.wrap_serializer_function_ser_schema(_as_lists, schema=lists),
        )


Items = Annotated[list[T], Field(min_length=1, max_length=MAX_ITEMS, fail_fast=True), KeepRead]
"""A request's items, at least one."""


def is_read(value: object) -> bool:
    return isinstance(value, ReadItems) or hasattr(value, "__array__")


def _as_lists(value: Any, serialize: SerializerFunctionWrapHandler) -> Any:
    if isinstance(value, ReadItems):
        return [_as_json(item, serialize) for item in value]
    return serialize(value.tolist() if hasattr(value, "__array__") else value)


def _as_json(item: Any, serialize: SerializerFunctionWrapHandler) -> Any:
    if isinstance(item, UnreadableItem):
        return item.given
    return item.tolist() if hasattr(item, "__array__") else serialize([item])[0]
