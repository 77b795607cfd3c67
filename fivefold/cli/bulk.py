"""Many inputs, few at a time: one bad input gets its own error, and its neighbours their results."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from fivefold.client import Client
from fivefold.errors import InvalidInput, RowFailed, RowNotFinite
from fivefold.images import Image
from fivefold.operation import Answer, FailedItem, InputRequest, ItemError, ItemT, Operation, ScoringRequest
from fivefold.parsing import built

PICTURES = 16
T = TypeVar("T")
RequestT = TypeVar("RequestT", bound=InputRequest)


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of `size`; the last may be shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def reason(item: FailedItem) -> str:
    """Why an input has no result, in one line."""
    return f"{item.error.code}: {item.error.message}"


def answered(
    client: Client, operation: Operation[RequestT, Answer[ItemT], Any], request: RequestT
) -> list[ItemT | FailedItem]:
    """One item for each input, with on_error="skip" also where no input has a result.

    Raises FivefoldError where the request itself is refused.
    """
    place = "images" if request.images is not None else "rows"
    count = len(request.images or request.rows or ())
    try:
        return client.call(operation, request).items
    except (InvalidInput, RowFailed, RowNotFinite) as error:
        reasons = {invalid.place: invalid.message for invalid in error.invalid}
        if request.on_error == "fail" or (isinstance(error, InvalidInput) and f"{place}.0" not in reasons):
            raise
        messages = [reasons.get(f"{place}.{index}", error.message) for index in range(count)]
        return [FailedItem(index=i, error=ItemError(code=error.code, message=text)) for i, text in enumerate(messages)]


def pictures_answered(
    client: Client,
    operation: Operation[RequestT, Answer[ItemT], Any],
    files: list[Path],
    fields: Mapping[str, Any],
    seed: int,
) -> Iterator[tuple[Path, ItemT | FailedItem]]:
    """Each file with its item: one that is scored has the seed, of others file i has seed + i.

    A single bad file raises InvalidInput, one of several does not.
    """
    on_error = "skip" if len(files) > 1 else "fail"
    for number, batch in enumerate(batches(files, PICTURES)):
        images = [Image.open(file) for file in batch]
        first = seed if issubclass(operation.request, ScoringRequest) else seed + number * PICTURES
        part = {"images": images, "seed": first, "on_error": on_error}
        yield from zip(batch, answered(client, operation, built(operation.request, {**fields, **part})), strict=True)
