"""What travels between machines arrives as it was, to the last bit; what is damaged is refused."""

import json
import struct
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from queued import MODEL

from model_store.store import ModelRef
from service.arrays import Arrays, CorruptFrame, fingerprint, pack, unpack
from service.broker.base import ControlMessage, CostCurve, ServedModel, WorkerStatus
from service.broker.redis.codec import (
    decode_event,
    decode_job,
    decode_order,
    decode_worker,
    encode_event,
    encode_job,
    encode_order,
    encode_worker,
)
from service.jobs import Event, Failure, Job, Row

dtypes = st.sampled_from(("<f4", "<f8", "<i8", "|u1", "|b1", "<f2", ">f4"))
named_arrays = st.dictionaries(
    st.text(max_size=8), dtypes.flatmap(lambda d: arrays_of.arrays(d, arrays_of.array_shapes(min_dims=0, min_side=0)))
)
params = st.dictionaries(
    st.text(max_size=5), st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)


def same_bits(one: Arrays, other: Arrays) -> bool:
    return fingerprint([one]) == fingerprint([other]) and all(one[name].shape == other[name].shape for name in one)


@given(st.lists(named_arrays, max_size=3))
def test_arrays_travel_to_the_last_bit(groups: list[dict[str, np.ndarray]]) -> None:
    header, found = unpack(pack({"a": 1}, groups))
    assert header == {"a": 1}
    assert len(found) == len(groups)
    assert all(same_bits(one, other) for one, other in zip(groups, found, strict=True))


@given(named_arrays, params, st.floats(0, 1e6))
def test_jobs_travel_but_for_the_request_that_stays(arrays: Arrays, asked: dict, work: float) -> None:
    rows = (Row(3, 2**53 - 1, arrays, asked, work), Row(7, 0))
    job = Job("m@1-a", MODEL, "op", "kind", rows, 0.1, deadline=1.5, tenant="t", weight=2.0, request=b"asked")
    found = decode_job(encode_job(job))
    assert all(same_bits(one.arrays, other.arrays) for one, other in zip(rows, found.rows, strict=True))
    bare = [replace(row, arrays={}) for row in (*found.rows, *rows)]
    assert bare[:2] == bare[2:]
    assert replace(found, rows=()) == replace(job, rows=(), request=b"")


@given(named_arrays, st.none() | st.builds(Failure, st.text(), st.text()))
def test_events_travel(arrays: Arrays, error: Failure | None) -> None:
    event = Event("m@1-a", 3, 2**31, "failed" if error else "done", arrays, error, 1.25, 0.5, "scope")
    found = decode_event("m@1-a", encode_event(event))
    assert same_bits(found.arrays, arrays)
    assert replace(found, arrays={}) == replace(event, arrays={})


def test_heartbeats_and_orders_travel() -> None:
    ref = ModelRef("m", "1", "d")
    status = WorkerStatus("w", "cpu", "scope", (ServedModel(ref, {"kind": CostCurve(0.1, 0.2)}),), 5)
    assert decode_worker(encode_worker(status), 7.0) == replace(status, beat_at=7.0)
    for order in (ControlMessage("drain"), ControlMessage("load", ref, "w")):
        assert decode_order(encode_order(order)) == order


FRAME = encode_job(Job("m@1-a", MODEL, "op", "kind", (Row(0, 0, {"x": np.zeros(4, np.float32)}),), 0.1))
DAMAGED = {
    "nothing": b"",
    "cut in the header": FRAME[:10],
    "cut in the arrays": FRAME[:-1],
    "too long": FRAME + b"\0",
    "a length beyond the end": b"\xff\xff\xff\xff" + FRAME[4:],
    "no job": pack({"rows": []}),
    "a pickle": b"\x80\x04N.",
    "objects": (text := json.dumps({"arrays": [[["x", "|O", [1]]]]}).encode()) and struct.pack(">I", len(text)) + text,
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_frame_is_refused(damage: str) -> None:
    for decode in (decode_job, lambda frame: decode_event("m@1-a", frame)):
        with pytest.raises(CorruptFrame):
            decode(DAMAGED[damage])


@given(st.binary(max_size=200))
def test_noise_is_refused(noise: bytes) -> None:
    with pytest.raises(CorruptFrame):
        decode_job(noise)


@given(st.integers(0, len(FRAME) - 1), st.integers(1, 255))
def test_a_changed_byte_is_refused_or_still_a_job(place: int, change: int) -> None:
    damaged = FRAME[:place] + bytes([FRAME[place] ^ change]) + FRAME[place + 1 :]
    with suppress(CorruptFrame):
        assert isinstance(decode_job(damaged), Job)
