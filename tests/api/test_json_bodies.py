"""JSON bodies: every list is bounded and read up to its first mistake; what is too much is counted, never built."""

import itertools
import tracemalloc
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from served import serving

from fivefold.diffusion import DiffusionEnhanceRequest
from fivefold.errors import InvalidInput
from fivefold.flow import FlowSampleRequest
from fivefold.gan import GanInterpolateRequest
from fivefold.transformer import TransformerGenerateRequest, TransformerScoreRequest
from model_store.store import Store
from service.api.media.json_body import read_json
from service.api.media.json_fragments import count_entries
from service.families.registry import FAMILIES

REQUESTS = [one.operation.request for family in FAMILIES for one in family.pipelines]
EVERY_KIND = [DiffusionEnhanceRequest, GanInterpolateRequest, TransformerGenerateRequest, TransformerScoreRequest]
"""Requests that have every kind of list between them."""
MIB, MANY = 2**20, 2**18


def lists_of(schema: Any) -> Iterator[dict[str, Any]]:
    """Every list of a core schema."""
    if isinstance(schema, dict):
        if schema.get("type") == "list":
            yield schema
        for inner in schema.values():
            yield from lists_of(inner)
    elif isinstance(schema, list | tuple):
        for inner in schema:
            yield from lists_of(inner)


@pytest.mark.parametrize("request_type", REQUESTS)
def test_every_list_of_every_request_is_bounded_and_fails_fast(request_type: Any) -> None:
    found = list(lists_of(request_type.__pydantic_core_schema__))
    assert found
    assert all(one.get("max_length") and one.get("fail_fast") for one in found), found


@pytest.mark.parametrize("request_type", EVERY_KIND)
@pytest.mark.parametrize("entry", [b"0", b"[]", b"{}", b'""', b"null", b"[0]", b'"a"'])
def test_many_entries_cost_little_more_than_their_bytes(request_type: Any, entry: bytes) -> None:
    lists = (name for name, field in request_type.model_fields.items() if "list[" in str(field.annotation))
    for name in lists:
        body = b'{"%s":[' % name.encode() + b",".join([entry] * MANY) + b"]}"
        tracemalloc.start()
        with pytest.raises(InvalidInput):
            read_json(request_type, body, 4096)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 3 * len(body) + 16 * MIB, (name, peak / MIB)


@pytest.mark.parametrize("entry", [b"0", b"[1,2]", b'"a,b"', b'"\\",["', b'"\\\\"', b'{"a":[1,2]}'])
def test_entries_are_counted_whatever_they_hold(entry: bytes) -> None:
    for count in (1, 2, 300_000):  # more than one chunk
        assert count_entries(b"[" + b" , ".join([entry] * count) + b"]") == count


def test_an_integer_is_what_json_schema_calls_one_and_a_byte_order_mark_is_none() -> None:
    asked = read_json(FlowSampleRequest, b'\xef\xbb\xbf{"n": 2.0, "seeds": [7.0, 8], "temperature": 1}')
    assert (asked.n, asked.seeds, asked.temperature) == (2, [7, 8], 1.0)
    with pytest.raises(InvalidInput, match=r"n: 2\.5 given"):
        read_json(FlowSampleRequest, b'{"n": 2.5}')


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("flow/log-likelihood", {"model": "flow-shuttle", "rows": [[1e38] * 9]}),
        ("flow/decode", {"model": "flow-shuttle", "latents": [[3e38] * 9]}),
        ("vae/decode", {"model": "vae-shuttle", "latents": [[3e38] * 8]}),
        ("vae/elbo", {"model": "vae-shuttle", "rows": [[-3e38] * 9]}),
        ("gan/sample", {"latents": [[3e38] * 64]}),
    ],
)
def test_a_row_that_overflows_because_of_its_numbers_is_no_fault_of_the_service(
    http: httpx.Client, path: str, fields: dict[str, Any]
) -> None:
    (numbers,) = (name for name in ("rows", "latents") if name in fields)
    beside_a_good_one = fields | {numbers: [*fields[numbers], [0.5] * len(fields[numbers][0])]}
    for body, accept in itertools.product((fields, beside_a_good_one), ("application/json", "application/x-npy")):
        answer = http.post(f"/v1/{path}", json=body, headers={"accept": accept})
        assert answer.status_code in (200, 422), answer.text
        if answer.status_code == 422:
            assert answer.json()["code"] == "row_not_finite"


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    models = ["flow-shuttle", "vae-shuttle", "gan-fashion"]
    with serving(Store(), FAMILIES, models=models) as running, httpx.Client(base_url=running.url, timeout=30) as client:
        yield client
