"""What travels between machines arrives as it was, to the last bit; what is damaged is refused."""

import hashlib
import struct
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from queued import MODEL

from model_store.store import ModelRef
from service.arrays import Columns, CorruptFrame, Ragged, pack, unpack
from service.broker.codec import (
    UnreadableFormat,
    decode_events,
    decode_job,
    decode_order,
    decode_worker,
    encode_events,
    encode_job,
    encode_order,
    encode_worker,
)
from service.costs import CostCurve
from service.jobs import FORMATS, MAX_JOB_ROWS, Block, Events, Failure, Job, Parameters, failed
from service.workers import ControlMessage, ServedModel, WorkerStatus


@dataclass(frozen=True)
class Asked(Parameters):
    steps: int = 3
    scale: float | None = None
    words: tuple[str, ...] = ()
    exact: bool = False


KINDS = {"Asked": Asked}
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # on a busy machine
SHAPES = st.lists(st.integers(0, 3), max_size=2).map(tuple)
DTYPES = st.sampled_from(("<f4", "<f8", "<i8", "|u1", "|b1", "<f2", ">f4", "<c8"))
FINITE = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def columns_of(draw: st.DrawFn, rows: int) -> Columns:
    """Dense and ragged columns of all types, with items of length zero."""
    found = {}
    for name in draw(st.lists(st.text(max_size=8), max_size=3, unique=True)):
        dtype, shape = draw(DTYPES), draw(SHAPES)
        if draw(st.booleans()):
            found[name] = draw(arrays_of.arrays(dtype, (rows, *shape)))
        else:
            lengths = draw(st.lists(st.integers(0, 3), min_size=rows, max_size=rows))
            found[name] = Ragged.of([draw(arrays_of.arrays(dtype, (length, *shape))) for length in lengths])
    return found


@st.composite
def jobs(draw: st.DrawFn) -> Job:
    rows = draw(st.integers(1, 5))
    places = np.cumsum(draw(arrays_of.arrays(np.int64, rows, elements=st.integers(1, 1000))))
    seeds = draw(arrays_of.arrays(np.int64, rows, elements=st.integers(0, 2**53 - 1)))
    work = draw(arrays_of.arrays(np.float64, rows, elements=st.floats(0, 1e6)))
    asked = draw(st.builds(Asked, st.integers(-(2**53), 2**53), st.none() | FINITE, st.lists(st.text()).map(tuple)))
    shared = draw(st.dictionaries(st.text(max_size=5), arrays_of.arrays(DTYPES, SHAPES), max_size=2))
    block = Block(asked, places, seeds, work, draw(columns_of(rows)), shared)
    return Job("m@1-a", MODEL, draw(st.text()), block, draw(FINITE), deadline=draw(st.none() | FINITE), request=b"kept")


def same(one: Columns, other: Columns) -> bool:
    return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)


def _same(one: np.ndarray | Ragged, other: np.ndarray | Ragged) -> bool:
    if isinstance(one, Ragged) and isinstance(other, Ragged):
        return _same(one.values, other.values) and _same(one.offsets, other.offsets)
    assert isinstance(one, np.ndarray)
    assert isinstance(other, np.ndarray)
    return (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())


def equal(one: Job, other: Job) -> bool:
    blocks = one.block, other.block
    ours, theirs = ({"rows": block.rows, "seeds": block.seeds, "work": block.work} for block in blocks)
    apart = [{**vars(job), "block": None, "request": None, "work": None} for job in (one, other)]
    return (
        apart[0] == apart[1]
        and blocks[0].parameters == blocks[1].parameters
        and same(ours, theirs)
        and same(blocks[0].columns, blocks[1].columns)
        and same(blocks[0].shared, blocks[1].shared)
    )


@UNHURRIED
@given(jobs())
def test_jobs_travel_but_for_the_request_that_stays(job: Job) -> None:
    found = decode_job(encode_job(job), KINDS)
    assert equal(found, job)
    assert found.request == b""


@UNHURRIED
@given(st.data(), st.integers(0, 4), st.none() | st.builds(Failure, st.text(), st.text()))
def test_events_travel(data: st.DataObject, rows: int, failure: Failure | None) -> None:
    columns = data.draw(columns_of(rows) if rows else st.just({}))
    kind = "failed" if failure else data.draw(st.sampled_from(("step", "done")))
    times = np.linspace(0.0, 1.0, rows) if data.draw(st.booleans()) else np.empty(0)
    events = Events("m@1-a", kind, np.arange(rows), np.full(rows, 2**31 - 1), columns, failure, times, times, "a b")
    found = decode_events(encode_events(events))
    assert (found.job_id, found.kind, found.failure, found.scope) == ("m@1-a", kind, failure, "a b")
    for name in ("rows", "steps", "compute_ms", "progress"):
        assert _same(getattr(found, name), getattr(events, name))
    assert same(found.columns, columns)


REF = ModelRef("m", "1", "d")
STATUS = WorkerStatus("w", "cpu", "scope", (ServedModel(REF, {"graph": CostCurve(0.1, 0.2)}, loaded=False),), 5, (1,))


def test_heartbeats_and_orders_travel() -> None:
    assert decode_worker(encode_worker(STATUS), 7.0) == replace(STATUS, beat_at=7.0)
    for order in (ControlMessage("drain"), ControlMessage("load", REF, "w")):
        assert decode_order(encode_order(order)) == order


JOB = Job("m@1-a", MODEL, "op", Block(Asked(), np.arange(2), np.arange(2), np.ones(2), {"x": np.zeros((2, 4))}), 0.1)
FRAME, EVENTS_FRAME = encode_job(JOB), encode_events(failed("m@1-a", np.arange(2), Failure("code", "why")))


# Versions: what is unknown is ignored, what is missing has a default, another format is said


def sealed(header: dict[str, Any], groups: tuple[Columns, ...] = ()) -> bytes:
    """A frame as a version to come could write it."""
    return with_checksum(pack(header, groups))


def with_checksum(frame: bytes) -> bytes:
    return hashlib.sha1(frame, usedforsecurity=False).hexdigest()[:8].encode() + frame


def changed(frame: bytes, **fields: object) -> bytes:
    """The frame with other fields in its header; None drops one."""
    header, groups = unpack(frame[8:])
    return sealed({name: value for name, value in {**header, **fields}.items() if value is not None}, tuple(groups))


def test_unknown_fields_are_ignored_wherever_they_are() -> None:
    more = {"steps": 5, "a_new_knob": 1}
    model = {**vars(MODEL), "a_new_field": 1}
    found = decode_job(changed(FRAME, a_new_field=[1], parameters=more, model=model), KINDS)
    assert (found.block.parameters, found.model) == (Asked(5), MODEL)
    assert decode_events(changed(EVENTS_FRAME, a_new_field=1)).kind == "failed"
    header, groups = unpack(FRAME[8:])
    assert equal(decode_job(sealed(header, (*groups, {"new": np.zeros(3)})), KINDS), JOB)
    beat, order = encode_worker(STATUS), encode_order(ControlMessage("drain"))
    for text, decode in ((beat, lambda found: decode_worker(found, 0.0)), (order, decode_order)):
        assert decode(orjson.dumps({**orjson.loads(text), "a_new_field": {}})) == decode(text)


def test_missing_fields_have_their_defaults() -> None:
    found = decode_job(changed(FRAME, tenant=None, weight=None, deadline=None, parameters={}, format=None), KINDS)
    assert equal(found, JOB)
    assert decode_worker(orjson.dumps({"id": "w", "device": "cpu", "scope": "s"}), 1.0) == WorkerStatus(
        "w", "cpu", "s", beat_at=1.0
    )


@pytest.mark.parametrize("number", [0, 2, -1, "1", 1.5, [1]])
def test_another_format_is_unreadable_and_says_which(number: object) -> None:
    for text, decode in (
        (changed(FRAME, format=number), lambda frame: decode_job(frame, KINDS)),
        (changed(EVENTS_FRAME, format=number), decode_events),
        (orjson.dumps({**vars(ControlMessage("drain")), "format": number}), decode_order),
    ):
        with pytest.raises(UnreadableFormat, match="this build reads 1"):
            decode(text)


def test_a_format_that_is_not_ours_is_not_written() -> None:
    with pytest.raises(ValueError, match="not 7"):
        encode_job(replace(JOB, format=7))
    assert FORMATS == (1,)


# Damage


WRONG = {
    "a field of another type": changed(FRAME, weight="heavy"),
    "a text for a flag": changed(FRAME, stream="yes"),
    "a missing field": changed(FRAME, id=None),
    "another priority": changed(FRAME, priority="now"),
    "parameters of an unknown kind": changed(FRAME, kind="Nothing"),
    "parameters of another type": changed(FRAME, parameters={"steps": "three"}),
    "parameters that are a list": changed(FRAME, parameters=[1]),
    "no columns": sealed(unpack(FRAME[8:])[0]),
    "nothing": b"",
    "cut in the header": FRAME[:10],
    "cut in the arrays": FRAME[:-1],
    "too long": FRAME + b"\0",
    "a pickle": b"\x80\x04N.",
    "no job": sealed({"rows": []}),
}


@pytest.mark.parametrize("damage", WRONG)
def test_a_damaged_job_is_refused(damage: str) -> None:
    with pytest.raises(CorruptFrame):
        decode_job(WRONG[damage], KINDS)


def _block(**other: np.ndarray) -> dict[str, np.ndarray]:
    return {"rows": np.arange(2), "seeds": np.arange(2), "work": np.ones(2)} | other


ROWS = MAX_JOB_ROWS + 1
COLUMNS = {
    "columns of unequal length": (_block(), {"x": np.zeros(3)}),
    "a column without items": (_block(), {"x": np.zeros(())}),
    "work of unequal length": (_block(work=np.ones(3)), {}),
    "rows that are no numbers of places": (_block(rows=np.ones(2)), {}),
    "seeds in a matrix": (_block(seeds=np.zeros((2, 2), np.int64)), {}),
    "no item": ({name: column[:0] for name, column in _block().items()}, {}),
    "more than a job's": ({name: np.resize(column, ROWS) for name, column in _block().items()}, {}),
}


@pytest.mark.parametrize("damage", COLUMNS)
def test_a_block_that_is_none_is_refused(damage: str) -> None:
    header, _ = unpack(FRAME[8:])
    with pytest.raises(CorruptFrame):
        decode_job(sealed(header, (*COLUMNS[damage], {})), KINDS)
    header, (front, _) = unpack(EVENTS_FRAME[8:])
    with pytest.raises(CorruptFrame):
        decode_events(sealed(header, (front, {"x": np.zeros(3)})))


def test_objects_do_not_travel() -> None:
    text = orjson.dumps({"arrays": [[["x", "|O", [1]]]]})
    with pytest.raises(CorruptFrame):
        unpack(struct.pack(">I", len(text)) + text)


@given(st.binary(max_size=200))
def test_noise_is_refused(noise: bytes) -> None:
    for decode in (
        lambda frame: decode_job(frame, KINDS),
        decode_events,
        decode_order,
        lambda t: decode_worker(t, 0.0),
    ):
        with pytest.raises(CorruptFrame):
            decode(noise)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | FINITE | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


@given(JSON, st.sampled_from(("arrays", "parameters", "model", "format", "kind", "failure")))
def test_whatever_a_header_holds_it_is_a_message_or_refused(value: object, name: str) -> None:
    for frame, decode in ((FRAME, lambda found: decode_job(found, KINDS)), (EVENTS_FRAME, decode_events)):
        header, _ = unpack(frame[8:])
        text = orjson.dumps({**header, "arrays": [], name: value})
        with suppress(CorruptFrame):
            assert decode(with_checksum(struct.pack(">I", len(text)) + text)) is not None


@given(st.sampled_from((FRAME, EVENTS_FRAME)), st.data())
def test_a_changed_bit_or_a_cut_is_refused(frame: bytes, data: st.DataObject) -> None:
    place, bit = data.draw(st.integers(0, len(frame) - 1)), data.draw(st.integers(0, 7))
    flipped = frame[:place] + bytes([frame[place] ^ 1 << bit]) + frame[place + 1 :]
    decode = decode_events if frame is EVENTS_FRAME else lambda found: decode_job(found, KINDS)
    for damaged in (flipped, frame[:place]):
        with pytest.raises(CorruptFrame):
            decode(damaged)
