"""A pipeline's protocol: prepare, render and chunk one operation; and what all pipelines share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from fivefold.errors import Invalid, InvalidInput
from fivefold.operation import AnyOperation, SamplingRequest, SeededRequest
from model_store.manifest import Params
from model_store.store import Model
from service.arrays import Array
from service.jobs import Event, Row
from service.rng import SEED_LIMIT

AskedT_contra = TypeVar("AskedT_contra", bound=SeededRequest, contravariant=True)
ParamsT = TypeVar("ParamsT", bound=Params)
Fields = dict[str, Any]
MAX_REPORTED = 10


@dataclass(frozen=True)
class Refusal:
    """An item that cannot be run, in a request with on_error="skip"."""

    index: int
    message: str


class Pipeline(Protocol[AskedT_contra]):
    """One operation. Runs in the API process: no device, no graph.

    `request` arrives effective: its seed is drawn and its count is known (`seeds_of`). Images in fields are float32
    arrays [C, H, W] in [0, 1]; the route encodes them as the client asked.
    """

    @property
    def operation(self) -> AnyOperation: ...

    @property
    def session_kind(self) -> str | None:
        """The session that runs the rows. None: they need no device, and are rendered as they were prepared."""
        ...

    def prepare(self, request: AskedT_contra, model: Model) -> list[Row | Refusal]:
        """Rows by index. Every refusal of input is raised here: InvalidInput."""
        ...

    def render(self, request: AskedT_contra, items: Sequence[Event], model: Model) -> list[Fields]:
        """The fields of each finished item, beside index and seed, as named in the operation's answer."""
        ...

    def chunk(self, request: AskedT_contra, event: Event, state: Fields, model: Model) -> Fields | None:
        """The fields of a streamed step, or None. `state` is this stream's own and starts empty."""
        return None


def params_of(model: Model, expected: type[ParamsT]) -> ParamsT:
    """The model's parameters. Raises InvalidInput where the model is of another family."""
    params = model.manifest.params
    if not isinstance(params, expected):
        wanted = expected.model_fields["family"].default
        raise InvalidInput(f"{model.ref} is a {params.family} model, this operation needs one of family {wanted}")
    return params


def seeds_of(request: SeededRequest, count: int) -> list[int]:
    """The seed of each of `count` items. Raises InvalidInput where `seeds` has another length, or one is too large."""
    if request.seeds is None:
        first = request.seed or 0
        if first + count > SEED_LIMIT:
            last = SEED_LIMIT - 1
            raise InvalidInput(f"seed {first} given for {count} items, the last seed is {last}: use a smaller one")
        return list(range(first, first + count))
    if len(request.seeds) != count:
        raise InvalidInput(
            f"{len(request.seeds)} seeds given for {count} items: send one seed per item, or only `seed`"
        )
    return request.seeds


def count_of(request: SamplingRequest) -> int:
    """How many items a sampling request wants: n, or as many as it has seeds where n is left out."""
    return len(request.seeds) if request.seeds is not None and "n" not in request.model_fields_set else request.n


def prepare_each(
    request: SeededRequest, count: int, make: Callable[[int, int], Row], place: str
) -> list[Row | Refusal]:
    """make(index, seed) for every item. Bad ones are refused together, the first ten by index, or skipped if asked.

    `place` is the request's field that holds the items. Raises InvalidInput.
    """
    prepared: list[Row | Refusal] = []
    for index, seed in enumerate(seeds_of(request, count)):
        try:
            prepared.append(make(index, seed))
        except InvalidInput as error:
            prepared.append(Refusal(index, error.message))
    refused = [item for item in prepared if isinstance(item, Refusal)]
    if refused and (request.on_error == "fail" or len(refused) == count):
        invalid = [Invalid(place=f"{place}.{item.index}", message=item.message) for item in refused[:MAX_REPORTED]]
        raise InvalidInput(f"{len(refused)} of {count} items cannot be run: {invalid[0].message}", invalid=invalid)
    return prepared


def data_fields(x: Array) -> Fields:
    """`image` for [C, H, W], `row` for a table's columns."""
    return {"image": x} if x.ndim == 3 else {"row": x}
