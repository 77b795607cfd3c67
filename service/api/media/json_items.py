"""The items of a JSON body, read one by one: numbers become arrays, a bad item its own error."""

from contextlib import suppress
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError, from_json

from fivefold.errors import Invalid
from fivefold.items import ReadItems, UnreadableItem
from service.api.media.json_fragments import cut_array
from service.api.media.problem_json import MAX_REPORTED, message_of, place_of, refusal
from service.arrays import Array

SMALL_BYTES = 32_768  # what is no larger costs little, whatever it holds
DTYPES = {"float": np.float64, "int": np.int64}


class ItemReader:
    """Reads the items of the field `name`, each of the type `item`: a text, a picture, or a list of numbers."""

    def __init__(self, name: str, item: Any) -> None:
        self._name, self._item = name, TypeAdapter[Any](item)
        schema: Any = self._item.core_schema
        self._most_numbers: int = schema.get("max_length", 0)
        self._dtype = DTYPES[schema["items_schema"]["type"]] if schema["type"] == "list" else None

    def read(self, array: bytes, most: int, *, skip: bool) -> ReadItems | Array:
        """All items: an array [n, D] where they are n lists of as many numbers.

        Raises InvalidInput for more than `most`, and with the first ten that are bad, unless they are to be skipped.
        """
        items, invalid = ReadItems(), list[Invalid]()
        entries = cut_array(array, most)
        table = _Table(len(entries), len(array))
        for index, entry in enumerate(map(bytes, entries)):
            try:
                items.append(table.add(self._read(entry)))
            except ValidationError as error:
                found = error.errors(include_url=False)[0]
                message, place = message_of(found), place_of(found)
                invalid.append(Invalid(place=".".join(filter(None, (self._name, str(index), place))), message=message))
                items.append(UnreadableItem(_as_given(entry), f"entry {place}: {message}" if place else message))
            if len(invalid) == MAX_REPORTED and not skip:
                break
        if invalid and not skip:
            raise refusal(invalid, complete=len(items) == len(entries))
        return items if table.rows is None or table.filled < len(items) else table.rows

    def _read(self, entry: bytes) -> Any:
        """One item, numbers as an array [D]. Raises ValidationError."""
        if len(entry) > SMALL_BYTES:
            self._check_size(entry)
        try:
            value = self._item.validate_json(entry, strict=True)
        except ValidationError as error:
            if not is_whole(error.errors(include_url=False)[0]):
                raise
            value = self._item.validate_python(with_integers(from_json(entry)), strict=True)
        with suppress(OverflowError):  # an integer that no model has a use for
            return value if self._dtype is None else np.array(value, self._dtype)
        return value

    def _check_size(self, entry: bytes) -> None:
        """Raises ValidationError for what would be built only to be refused."""
        if self._dtype is None:
            if not entry.startswith(b'"'):
                raise _too_large(f"{len(entry)} bytes of JSON that are no text")
        elif entry.count(b"[") + entry.count(b"{") > 1:
            raise _too_large(f"{len(entry)} bytes of JSON that are no list of numbers")
        elif (count := entry.count(b",") + 1) > self._most_numbers:
            raise _too_large(f"{count} numbers given: {self._most_numbers} are possible in an item")


class _Table:
    """The numbers of all items in one array [n, D], as long as every item has as many."""

    def __init__(self, count: int, size_bytes: int) -> None:
        self.rows: Array | None = None
        self.filled = 0
        self._count, self._most = count, size_bytes // 2  # a number takes two bytes at least

    def add(self, item: Any) -> Any:
        """The item itself; a row of the table where it fits."""
        if not isinstance(item, np.ndarray) or item.dtype != np.float64:
            return item
        if self.rows is None and 0 < self._count * len(item) <= self._most:
            self.rows = np.empty((self._count, len(item)))
        if self.rows is None or len(item) != self.rows.shape[1]:
            return item
        self.rows[self.filled] = item
        self.filled += 1
        return self.rows[self.filled - 1]


def is_whole(error: ErrorDetails) -> bool:
    """Whether what is refused as no integer is one as JSON Schema has it: 2.0."""
    return error["type"] == "int_type" and _whole(error["input"])


def with_integers(value: Any) -> Any:
    """The same with every whole float as an integer, which every field of floats takes, too."""
    if isinstance(value, list):
        return [with_integers(inner) for inner in value]
    return int(value) if _whole(value) else value


def _whole(value: object) -> bool:
    return isinstance(value, float) and value.is_integer() and abs(value) < 2**53


def _too_large(message: str) -> ValidationError:
    details = InitErrorDetails(type=PydanticCustomError("too_large", "{message}", {"message": message}), input=None)
    return ValidationError.from_exception_data("item", [details])


def _as_given(entry: bytes) -> Any:
    """For whoever reads the request again; of what is long, or no JSON at all, its beginning."""
    with suppress(ValueError):
        if len(entry) <= SMALL_BYTES:
            return from_json(entry)
    return entry[:60].decode(errors="replace")
