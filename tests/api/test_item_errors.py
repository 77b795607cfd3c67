"""Whatever is wrong with an item, it is the item's own error where bad items are skipped, and named where they are not.

A table of all operations that take items, times all faults that an item of their kind can have.
"""

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import httpx
import numpy as np
import pytest
from served import Service, serving

from model_store.store import Store
from service.api.media.json_body import item_readers
from service.families.registry import FAMILIES
from tests.answers.samples import fashion, png

PIPELINES = {one.operation.path: one for family in FAMILIES for one in family.pipelines}
ROW = [37.0, 0.0, 92.0, 0.0, 24.0, 3.0, 55.0, 69.0, 14.0]
PICTURE = base64.b64encode(png(fashion(1)[0])).decode()
MASK = base64.b64encode(png(np.full((28, 28), 255, np.uint8))).decode()
SMALLER = base64.b64encode(png(fashion(1)[0][:14, :14])).decode()
TRUNCATED = base64.b64encode(base64.b64decode(PICTURE)[:60]).decode()


class Field(NamedTuple):
    """A field of an operation that holds items, one good item of it, and the rest of a request."""

    path: str
    name: str
    good: Any
    rest: Mapping[str, Any]


def _fields() -> Iterator[Field]:
    for operation in ("log-likelihood", "encode"):
        yield Field(f"/v1/flow/{operation}", "rows", ROW, {"model": "flow-shuttle"})
        yield Field(f"/v1/flow/{operation}", "images", PICTURE, {"model": "flow-fashion"})
    yield Field("/v1/flow/decode", "latents", [0.5] * 9, {"model": "flow-shuttle"})
    for operation in ("anomaly", "elbo", "encode", "reconstruct"):
        yield Field(f"/v1/vae/{operation}", "rows", ROW, {"model": "vae-shuttle"})
        yield Field(f"/v1/vae/{operation}", "images", PICTURE, {"model": "vae-fashion"})
    yield Field("/v1/vae/decode", "latents", [0.5] * 8, {"model": "vae-shuttle"})
    yield Field("/v1/gan/sample", "latents", [0.5] * 64, {"class": "bag"})
    yield Field("/v1/gan/score", "rows", [0.5] * 784, {})
    yield Field("/v1/gan/score", "images", PICTURE, {})
    enhance = {"task": "inpaint", "steps": 1}
    yield Field("/v1/diffusion/enhance", "rows", [0.5] * 784, {"task": "denoise"})
    yield Field("/v1/diffusion/enhance", "images", PICTURE, {"task": "denoise"})
    yield Field("/v1/diffusion/enhance", "masks", MASK, {"images": [PICTURE] * 3, **enhance})
    for operation in ("score", "tokenize"):
        yield Field(f"/v1/transformer/{operation}", "texts", "The people", {})
    for operation in ("score", "detokenize"):
        yield Field(f"/v1/transformer/{operation}", "tokens", [52, 72, 69], {})


FIELDS = {f"{field.path}-{field.name}": field for field in _fields()}
NO_ITEM: list[Any] = [None, True, {}, {"a": [1]}, [[1]]]
NUMBERS = [*NO_ITEM, "text", [], [1.0], [0.5] * 1000, 0.5]
PICTURES = [*NO_ITEM, "***", "", "aGVsbG8=", TRUNCATED, SMALLER, 7, [1]]
TEXTS = [*NO_ITEM, 7, ["a"], 1.5]
TOKENS = [*NO_ITEM, "text", [10**9], [10**30], [-1], [1.5], ["a"], [None], 7]
FAULTS = {"rows": NUMBERS, "latents": NUMBERS, "images": PICTURES, "masks": PICTURES, "texts": TEXTS, "tokens": TOKENS}
ENTRIES: list[Any] = [None, "x", "1", True, [1], {}, float("nan"), float("inf"), -1e39, 1e39]


def faults(field: Field) -> list[Any]:
    """Every bad item: of another kind, or a good list of numbers with one bad entry."""
    entries = [[entry, *field.good[1:]] for entry in ENTRIES] if field.name in ("rows", "latents") else []
    return FAULTS[field.name] + entries


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    models = ["flow-shuttle", "flow-fashion", "vae-shuttle", "vae-fashion", "gan-fashion", "diffusion-fashion"]
    with serving(Store(), FAMILIES, models=[*models, "transformer-english"]) as running:
        yield running


@pytest.fixture(scope="module")
def http(service: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=30) as client:
        yield client


def named(error: Mapping[str, str]) -> str:
    """The item that an error names: of a mask, it is the message that does, for the item is its image."""
    place = error["message"].partition(":")[0] if error["place"].startswith("images") else error["place"]
    return ".".join((place if place.startswith("masks") else error["place"]).split(".")[:2])


def ask(http: httpx.Client, field: Field, items: list[Any], **more: Any) -> httpx.Response:
    content = json.dumps({**field.rest, field.name: items, **more})
    return http.post(field.path, content=content, headers={"content-type": "application/json"})


def test_the_table_has_every_operation_that_takes_items() -> None:
    taking = {(path, name) for path, one in PIPELINES.items() for name in item_readers(one.operation.request)}
    frames = {(path, name) for path, name in taking if PIPELINES[path].operation.sequence}  # two ends are no items
    assert taking - frames == {(field.path, field.name) for field in FIELDS.values()}


@pytest.mark.parametrize("field", FIELDS.values(), ids=FIELDS)
def test_a_bad_item_is_skipped_alone_or_named(http: httpx.Client, field: Field) -> None:
    good = ask(http, field, [field.good] * 3, seed=3).json()["items"]
    for fault in faults(field):
        items = [field.good, fault, field.good]
        skipped = ask(http, field, items, seed=3, on_error="skip")
        assert skipped.status_code == 200, (fault, skipped.text)
        first, bad, last = skipped.json()["items"]
        assert (first, last) == (good[0], good[2]), fault
        assert (bad["index"], bad["error"]["code"]) == (1, "invalid_input")
        refused = ask(http, field, items)
        assert refused.status_code == 422, (fault, refused.text)
        assert [named(one) for one in refused.json()["errors"]] == [f"{field.name}.1"], fault


@pytest.mark.parametrize("field", FIELDS.values(), ids=FIELDS)
def test_items_of_which_none_can_be_read_are_refused_with_ten_of_them(http: httpx.Client, field: Field) -> None:
    rest = {"images": [PICTURE] * 20} if field.name == "masks" else {}
    for on_error in ("skip", "fail"):
        refused = ask(http, field, [None] * 20, on_error=on_error, **rest)
        assert refused.status_code == 422
        assert len(refused.json()["errors"]) == 10


@pytest.mark.parametrize("name", ["/v1/flow/log-likelihood-rows", "/v1/vae/anomaly-images"])
def test_a_job_that_is_asked_about_later_has_the_same_errors(http: httpx.Client, name: str) -> None:
    field = FIELDS[name]
    items = [field.good, *faults(field)]
    content = json.dumps({**field.rest, field.name: items, "on_error": "skip"})
    headers = {"content-type": "application/json", "prefer": "respond-async"}
    job = http.post(field.path, content=content, headers=headers).json()
    with http.stream("GET", f"/v1/jobs/{job['id']}/events") as events:
        events.read()
    answer = http.get(f"/v1/jobs/{job['id']}").json()
    assert json.dumps(answer["result"]["items"]) == json.dumps(ask(http, field, items, on_error="skip").json()["items"])
