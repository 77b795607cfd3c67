"""A pipeline's protocol: prepare, render and chunk one operation; and what all pipelines share."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from fivefold.errors import Invalid, InvalidInput
from fivefold.items import UnreadableItem
from fivefold.operation import AnyOperation, SamplingRequest, ScoringRequest, SeededRequest
from model_store.manifest import Params
from model_store.store import Model
from service.arrays import Array, Arrays, Columns, Ragged
from service.jobs import Block, Floats, Integers, Parameters
from service.rng import SEED_LIMIT

AskedT_contra = TypeVar("AskedT_contra", bound=SeededRequest, contravariant=True)
ParamsT = TypeVar("ParamsT", bound=Params)
Fields = dict[str, Any]
FieldColumns = Mapping[str, Sequence[Any] | Array | Ragged]
"""The fields of all finished items by name, a value for each item: an array [k, ...], or any sequence."""
MAX_REPORTED = 10


@dataclass(frozen=True)
class Prepared:
    """What a request of `count` items becomes: one block of those that can be run, of any length, and why the others
    cannot: messages by index, in a request with on_error="skip"."""

    count: int
    block: Block
    refusals: Mapping[int, str] = field(default_factory=dict)


class Results(NamedTuple):
    """Finished items: rows [k], their places in the request, ascending, and their columns [k, ...]."""

    rows: Integers
    columns: Columns


class ItemStep(NamedTuple):
    """One streamed step of one item."""

    row: int
    step: int
    arrays: Arrays


class Pipeline(Protocol[AskedT_contra]):
    """One operation. Runs in the API process: no device, no graph.

    `request` arrives effective: its seed is drawn and its count is known (`seeds_of`). Images in fields are float32
    arrays [C, H, W] in [0, 1]; the route encodes them as the client asked.
    """

    @property
    def operation(self) -> AnyOperation: ...

    @property
    def kind(self) -> type[Parameters] | None:
        """The kind of session that runs the items. None: they need no device, and are rendered as prepared."""
        ...

    def prepare(self, request: AskedT_contra, model: Model) -> Prepared:
        """The block of the request. Every refusal of input is raised here: InvalidInput."""
        ...

    def render(self, request: AskedT_contra, results: Results, model: Model) -> FieldColumns:
        """The fields of the finished items, beside index and seed, as named in the operation's answer."""
        ...

    def chunk(self, request: AskedT_contra, step: ItemStep, state: Fields, model: Model) -> Fields | None:
        """The fields of a streamed step, or None. `state` is this stream's own and starts empty."""
        return None


def params_of(model: Model, expected: type[ParamsT]) -> ParamsT:
    """The model's parameters. Raises InvalidInput where the model is of another family."""
    params = model.manifest.params
    if not isinstance(params, expected):
        wanted = expected.model_fields["family"].default
        raise InvalidInput(f"{model.ref} is a {params.family} model, this operation needs one of family {wanted}")
    return params


def seeds_of(request: SeededRequest, count: int) -> Integers:
    """int64 [count], the seed of each item. Raises InvalidInput for another number of `seeds`, or one too large."""
    if request.seeds is None:
        first = request.seed or 0
        if isinstance(request, ScoringRequest):
            return np.full(count, first)
        if first + count > SEED_LIMIT:
            last = SEED_LIMIT - 1
            raise InvalidInput(f"seed {first} given for {count} items, the last seed is {last}: use a smaller one")
        return np.arange(first, first + count)
    if len(request.seeds) != count:
        raise InvalidInput(
            f"{len(request.seeds)} seeds given for {count} items: send one seed per item, or only `seed`"
        )
    return np.array(request.seeds, np.int64)


def count_of(request: SamplingRequest) -> int:
    """How many items a sampling request wants: n, or as many as it has seeds where n is left out."""
    return len(request.seeds) if request.seeds is not None and "n" not in request.model_fields_set else request.n


def refuse(refusals: Mapping[int, str], request: SeededRequest, count: int, place: str) -> None:
    """Raises InvalidInput with the first ten of these items by index, unless the request skips them and others remain.

    `place` is the request's field that holds the items.
    """
    if not refusals or (request.on_error == "skip" and len(refusals) < count):
        return
    first = sorted(refusals.items())[:MAX_REPORTED]
    invalid = [Invalid(place=f"{place}.{index}", message=message) for index, message in first]
    raise InvalidInput(f"{len(refusals)} of {count} items cannot be run: {invalid[0].message}", invalid=invalid)


def prepare_block(
    request: SeededRequest,
    parameters: Parameters,
    count: int,
    columns: Columns | None = None,
    *,
    work: float | Array = 1.0,
    shared: Arrays | None = None,
    refusals: Mapping[int, str] | None = None,
    place: str = "n",
) -> Prepared:
    """The block of `count` items; columns and `work` are of those not refused, in order. Raises InvalidInput."""
    seeds, refused = seeds_of(request, count), refusals or {}
    refuse(refused, request, count, place)
    rows = np.arange(count)
    if refused:
        rows = np.delete(rows, list(refused))
        seeds = seeds[rows]
    needed = np.full(len(rows), work, np.float64)
    return Prepared(count, Block(parameters, rows, seeds, needed, columns or {}, shared or {}), refused)


def read_each(items: Iterable[Any], read: Callable[[Any], Array]) -> tuple[list[Array], dict[int, str]]:
    """read(item) of every item that has one, and the messages, by index, of those that cannot be read."""
    values, refusals = [], dict[int, str]()
    for index, item in enumerate(items):
        try:
            values.append(read(readable(item)))
        except InvalidInput as error:
            refusals[index] = error.message
    return values, refusals


def readable(item: Any) -> Any:
    """The item. Raises InvalidInput where it could not be read from the body."""
    if isinstance(item, UnreadableItem):
        raise InvalidInput(item.message)
    return item


def map_values(function: Callable[[float], float], values: Floats) -> Floats:
    """function(value) of each of the values [k]: by the C library, whose last bit depends on no vector width."""
    return np.array([function(value) for value in values.tolist()], np.float64)


def data_field(x: Array) -> FieldColumns:
    """`image` for [k, C, H, W], `row` for a table's columns [k, D]."""
    return {"image": x} if x.ndim == 4 else {"row": x}
