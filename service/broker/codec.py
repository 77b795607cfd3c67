"""Jobs, events, heartbeats and orders <-> bytes: JSON and raw buffers with a checksum, never pickle."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, make_dataclass, replace
from types import GenericAlias
from typing import Any, Literal, TypeVar, get_type_hints

import numpy as np
import orjson
from pydantic import ConfigDict, TypeAdapter, ValidationError

from service.arrays import Array, Column, Columns, CorruptFrame, Ragged, pack, unpack
from service.jobs import FORMATS, Block, Events, Failure, Job, Kinds
from service.workers import ControlMessage, WorkerStatus

_CHECKSUM_BYTES = 8  # the first hexadecimal digits of the frame's SHA-1: the queue's scripts can write it, too
_IN_FRONT = ("rows", "seeds", "work")
_TIMED = ("rows", "steps", "compute_ms", "progress")
_DTYPES = {"rows": "int64", "seeds": "int64", "steps": "int64"}  # the others are float64

MessageT = TypeVar("MessageT")


class UnreadableFormat(CorruptFrame):
    """A message in a format that this build does not read."""


@dataclass(frozen=True)
class _Kind:
    """What says how the rest of a job's header is read."""

    kind: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _EventsHeader:
    job_id: str
    kind: Literal["step", "done", "failed"]
    failure: Failure | None = None
    scope: str = ""


_HINTS = get_type_hints(Job)
_KEPT_APART = ("block", "request")
_JobHeader = make_dataclass(
    "_JobHeader",
    [(one.name, _HINTS[one.name], field(default=one.default)) for one in fields(Job) if one.name not in _KEPT_APART],
    frozen=True,
)
_JOB_FIELDS = [one.name for one in fields(_JobHeader)]  # asked once: the interpreter keeps 2,000 of such answers


def encode_job(job: Job) -> bytes:
    """All of a job but its `request`, which stays in the queue. Raises ValueError for a format that is not ours."""
    block = job.block
    header = {name: getattr(job, name) for name in _JOB_FIELDS}
    header |= {"kind": type(block.parameters).__name__, "parameters": block.parameters}
    front = {name: getattr(block, name) for name in _IN_FRONT}
    return _seal(job.format, header, (front, block.columns, block.shared))


def decode_job(frame: bytes, kinds: Kinds) -> Job:
    """Raises CorruptFrame, and UnreadableFormat for a format that this build does not read."""
    header, groups = _open(frame)
    kind = read(_Kind, header)
    if kind.kind not in kinds:
        raise CorruptFrame(f"parameters of the kind {kind.kind!r}: this build knows {', '.join(sorted(kinds))}")
    parameters = read(kinds[kind.kind], kind.parameters)
    front, columns, shared = _first(groups, 3)
    rows, seeds, work = _numbers(front, _IN_FRONT)
    try:
        block = Block(parameters, rows, seeds, work, columns, _dense(shared))
        return Job(**vars(read(_JobHeader, header)), block=block)
    except (ValueError, TypeError) as error:
        raise CorruptFrame(f"not a job: {error}") from error


def encode_events(events: Events, number: int = FORMATS[0]) -> bytes:
    """In the format `number`, that of their job. Raises ValueError for a format that is not ours."""
    header = {name: getattr(events, name) for name in ("job_id", "kind", "failure", "scope")}
    return _seal(number, header, ({name: getattr(events, name) for name in _TIMED}, events.columns))


def decode_events(frame: bytes) -> Events:
    """Raises CorruptFrame, and UnreadableFormat for a format that this build does not read."""
    header, groups = _open(frame)
    front, columns = _first(groups, 2)
    rows, steps, compute_ms, progress = _numbers(front, _TIMED)
    timed = [column for column in (compute_ms, progress) if len(column)]
    if any(np.ndim(column) == 0 for column in columns.values() if not isinstance(column, Ragged)):
        raise CorruptFrame("a column without rows in a block of events")
    lengths = {len(column) for column in (rows, steps, *timed, *columns.values())}
    if len(lengths) > 1:
        raise CorruptFrame(f"columns of {', '.join(map(str, sorted(lengths)))} rows in one block of events")
    found = read(_EventsHeader, header)
    return Events(found.job_id, found.kind, rows, steps, columns, found.failure, compute_ms, progress, found.scope)


def encode_worker(status: WorkerStatus) -> bytes:
    """A heartbeat, in the oldest format that this build writes."""
    return _line(status)


def decode_worker(text: bytes, beat_at: float) -> WorkerStatus:
    """Raises CorruptFrame, UnreadableFormat."""
    return replace(_read_line(WorkerStatus, text), beat_at=beat_at)


def encode_order(message: ControlMessage) -> bytes:
    """In the oldest format that this build writes."""
    return _line(message)


def decode_order(text: bytes) -> ControlMessage:
    """Raises CorruptFrame, UnreadableFormat."""
    return _read_line(ControlMessage, text)


def _line(message: WorkerStatus | ControlMessage) -> bytes:
    return orjson.dumps({"format": FORMATS[0], **vars(message)})


def _read_line(kind: type[MessageT], text: bytes) -> MessageT:
    try:
        header = orjson.loads(text)
    except ValueError as error:
        raise CorruptFrame(f"not JSON: {error}") from error
    _require_format(header)
    return read(kind, header)


def read(kind: type[MessageT], header: object) -> MessageT:
    """A dataclass of a header's fields: unknown ones are ignored, missing ones have their defaults.

    Raises CorruptFrame for a field of another type, and for a missing one without default.
    """
    try:
        (found,) = _ADAPTERS[kind].validate_json(orjson.dumps([header]), strict=True)
    except (ValidationError, TypeError) as error:
        raise CorruptFrame(f"not a {kind.__name__.strip('_')}: {error}") from error
    message: MessageT = found
    return message


class _Adapters(dict[type, TypeAdapter[Any]]):
    """A reader for each class, in a list of one, built once: building one takes a millisecond.

    It keeps no text that a client sent: pydantic would keep up to 16,384 of them.
    """

    def __missing__(self, kind: type) -> TypeAdapter[Any]:
        of_one: Any = GenericAlias(list, kind)
        self[kind] = TypeAdapter(of_one, config=ConfigDict(cache_strings="keys"))
        return self[kind]


_ADAPTERS = _Adapters()


def _seal(number: int, header: dict[str, Any], groups: Sequence[Columns]) -> bytes:
    if number not in FORMATS:
        raise ValueError(f"this build writes the formats {', '.join(map(str, FORMATS))}, not {number}")
    frame = pack({"format": number, **header}, groups)
    return _checksum(frame) + frame


def _open(message: bytes) -> tuple[dict[str, Any], list[dict[str, Column]]]:
    frame = message[_CHECKSUM_BYTES:]
    if message[:_CHECKSUM_BYTES] != _checksum(frame):
        raise CorruptFrame("the checksum is that of other bytes")
    try:
        header, groups = unpack(frame)
    except (KeyError, SyntaxError) as error:  # of a type of arrays that is none
        raise CorruptFrame(f"not a frame: {error}") from error
    _require_format(header)
    return header, groups


def _checksum(frame: bytes) -> bytes:
    return hashlib.sha1(frame, usedforsecurity=False).hexdigest()[:_CHECKSUM_BYTES].encode()


def _require_format(header: object) -> None:
    number = header.get("format", FORMATS[0]) if isinstance(header, dict) else None
    if number not in FORMATS:
        raise UnreadableFormat(f"format {number}: this build reads {', '.join(map(str, FORMATS))}")


def _first(groups: Sequence[dict[str, Column]], count: int) -> Sequence[dict[str, Column]]:
    """The groups that this build knows; more may follow."""
    if len(groups) < count:
        raise CorruptFrame(f"{len(groups)} groups of columns, not {count}")
    return groups[:count]


def _numbers(group: Columns, names: Sequence[str]) -> list[Array]:
    """The columns [k] of these names and types."""
    found = [group.get(name) for name in names]
    for name, column in zip(names, found, strict=True):
        dtype = _DTYPES.get(name, "float64")
        if not isinstance(column, np.ndarray) or column.ndim != 1 or column.dtype != dtype:
            raise CorruptFrame(f"no column of {dtype} named {name}")
    return [column for column in found if isinstance(column, np.ndarray)]


def _dense(columns: Columns) -> dict[str, Array]:
    dense = {name: column for name, column in columns.items() if isinstance(column, np.ndarray)}
    if len(dense) < len(columns):
        raise CorruptFrame("shared arrays of unequal length")
    return dense
