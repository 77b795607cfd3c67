"""The typed name of one endpoint, and what every request and answer has in common."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from fivefold.images import Image
from fivefold.items import MAX_ITEMS, Items

JSON_TYPE = "application/json"
NPY_TYPE = "application/x-npy"
PNG_TYPE = "image/png"
JPEG_TYPE = "image/jpeg"
WEBP_TYPE = "image/webp"
APNG_TYPE = "image/apng"
CSV_TYPE = "text/csv"
EVENT_STREAM_TYPE = "text/event-stream"

PICTURE_BODIES = dict.fromkeys((PNG_TYPE, JPEG_TYPE, WEBP_TYPE), "images")
"""Bodies that are one picture, and the field that it fills: see `Operation.bodies`."""
MAX_NUMBERS = 2**18  # of one item

Seed = Annotated[int, Field(ge=0, lt=2**53)]
Priority = Literal["interactive", "normal", "bulk"]
OperationScope = Literal["generate", "score"]


class Wire(BaseModel):
    """A value on the wire: unknown fields are refused, and so are NaN and the infinities."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True, ser_json_inf_nan="constants"
    )


Numbers = Annotated[list[FiniteFloat], Field(max_length=MAX_NUMBERS, fail_fast=True)]
NumberLists = Items[Numbers]
"""Numbers, one list per item; at least one item."""
Seeds = Annotated[list[Seed], Field(min_length=1, max_length=MAX_ITEMS, fail_fast=True)]
SeedPair = Annotated[list[Seed], Field(min_length=2, max_length=2, fail_fast=True)]


class Request(Wire):
    """What every request may say.

    `model` is "name" or "name@version" (default: the family's default model). A request whose `deadline_ms`, counted
    from its arrival, passes is abandoned with `deadline_exceeded`. `on_error="skip"` answers the good items of a
    request and reports the bad ones in their places; "fail" refuses the whole request before it is queued.
    """

    data: ClassVar[frozenset[str]] = frozenset()
    """The fields that hold the data itself: every other field is echoed as an effective parameter."""

    model: str | None = Field(None, description='"name" or "name@version"; default: the default model of the family')
    deadline_ms: Annotated[int, Field(ge=1, le=3_600_000)] | None = Field(None, description="ms from arrival")
    priority: Priority = Field("normal", description="a class with a weight, not an absolute order")
    on_error: Literal["fail", "skip"] = Field("fail", description="what one bad input does to the others")

    @property
    def gives_numbers(self) -> bool:
        """Whether its items are numbers of any size, which a model can answer with NaN or an infinity."""
        return any(getattr(self, name) is not None for name in ("rows", "latents") if name in self.data)


class SeededRequest(Request):
    """Item i is drawn from `seeds[i]` if given, else from `seed + i`; the answer echoes it.

    The same item asked for alone, with its seed, is the same item.
    """

    seed: Seed | None = Field(None, description="omitted: random where something is sampled, 0 where it is scored")
    seeds: Seeds | None = Field(None, description="one seed per item, instead of `seed`")


class ScoringRequest(SeededRequest):
    """Every item has `seed`, or item i has `seeds[i]` if given: a score belongs to its item, whatever its place."""


class SamplingRequest(SeededRequest):
    """`n` independent items."""

    n: Annotated[int, Field(ge=1, le=4096)] = Field(1, description="number of items")


class InputRequest(SeededRequest):
    """Data in: `images`, or `rows` of numbers (a table's raw columns, or an image's pixels in [0, 1], flattened)."""

    data = frozenset({"images", "rows"})

    images: Items[Image] | None = Field(None, description="PNG, JPEG or WebP, base64 or a data URI")
    rows: NumberLists | None = Field(None, description="numbers, one list per item")


class ScoredInputRequest(InputRequest, ScoringRequest):
    """Data in, which is measured."""


class ItemError(Wire):
    """Why one item has no result. `code` is one of `fivefold.errors`."""

    code: str
    message: str


class Item(Wire):
    """One result; `seed` is the item's own."""

    index: int
    seed: int


class FailedItem(Wire):
    """One item without a result; its neighbours are not affected."""

    index: int
    error: ItemError


class ModelVersion(Wire):
    """The model that answered. `digest` is the sha256 of its manifest."""

    name: str
    version: str
    digest: str


class Timing(Wire):
    """Where the time went, in milliseconds: waiting for a place, on the device, and from arrival to answer."""

    queue_ms: float
    compute_ms: float
    total_ms: float


class Meta(Wire):
    """Facts about the answer.

    `exactness` holds within `scope` (runtime, device, instruction set): with "bitwise", the same request with the same
    seeds gives the same bytes there, whatever shared the batch. `receipt` is the sha256 of the items' arrays.
    """

    model: ModelVersion
    exactness: Literal["bitwise", "bucketed", "token_equal"]
    scope: str
    timing: Timing
    receipt: str


ItemT = TypeVar("ItemT", bound=Item)


class Answer(Wire, Generic[ItemT]):
    """`items` in the order of the request; `parameters` are the effective ones, defaults and drawn seeds included."""

    items: list[ItemT | FailedItem]
    parameters: dict[str, Any]
    meta: Meta

    @property
    def results(self) -> list[ItemT]:
        """The items that succeeded."""
        return [item for item in self.items if not isinstance(item, FailedItem)]


class Chunk(Wire):
    """One streamed step of item `index`."""

    index: int


RequestT = TypeVar("RequestT", bound=Request)
AnswerT = TypeVar("AnswerT", bound=Answer[Any])
ChunkT = TypeVar("ChunkT", bound=Chunk)


@dataclass(frozen=True)
class Operation(Generic[RequestT, AnswerT, ChunkT]):
    """One endpoint.

    A key needs the `scope`: "generate" for what makes new content, "score" for what measures the data that is given.
    `bodies` maps each binary media type that is accepted beside JSON to the request field it fills (the other fields
    then come from the query string). `answers` lists the media types it can answer in; those that carry a single
    array take the first of the item's fields named in `main` that is present. `chunk` is None where nothing streams.
    Items that form a `sequence` are frames: image/png is a strip of them from left to right, image/apng plays them.
    """

    family: str
    name: str
    scope: OperationScope
    summary: str
    request: type[RequestT]
    answer: type[AnswerT]
    chunk: type[ChunkT] | None
    example: Mapping[str, Any]
    main: tuple[str, ...]
    bodies: Mapping[str, str] = field(default_factory=dict)
    answers: tuple[str, ...] = (JSON_TYPE, NPY_TYPE)
    sequence: bool = False

    @property
    def path(self) -> str:
        return f"/v1/{self.family}/{self.name}"


AnyOperation = Operation[Any, Any, Any]
