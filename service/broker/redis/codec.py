"""Jobs, events, heartbeats and orders <-> bytes: JSON and raw buffers, never pickle."""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import orjson

from model_store.store import ModelRef
from service.arrays import CorruptFrame, pack, unpack
from service.broker.base import ControlMessage, CostCurve, JobStatus, ServedModel, WorkerStatus
from service.jobs import Event, Failure, Job, Row

_FIELD = struct.Struct(">I")


def encode_job(job: Job) -> bytes:
    """All of a job but its `request`, which stays in the queue."""
    rows = [{"index": row.index, "seed": row.seed, "params": row.params, "work": row.work} for row in job.rows]
    fields = {name: value for name, value in vars(job).items() if name not in ("rows", "request", "work", "model")}
    return pack({**fields, "model": vars(job.model), "rows": rows}, [row.arrays for row in job.rows])


def decode_job(frame: bytes) -> Job:
    """Raises CorruptFrame."""
    header, groups = unpack(frame)
    try:
        rows = tuple(Row(**row, arrays=arrays) for row, arrays in zip(header.pop("rows"), groups, strict=True))
        return Job(**{**header, "model": ModelRef(**header["model"]), "rows": rows})
    except (TypeError, KeyError, ValueError) as error:
        raise CorruptFrame(f"not a job: {error}") from error


def encode_event(event: Event) -> bytes:
    header: dict[str, Any] = {"row": event.row, "index": event.index, "kind": event.kind, "progress": event.progress}
    header |= {"compute_ms": event.compute_ms, "scope": event.scope}
    if event.error is not None:
        header["error"] = vars(event.error)
    return pack(header, [event.arrays])


def decode_event(job_id: str, frame: bytes) -> Event:
    """Raises CorruptFrame."""
    header, groups = unpack(frame)
    try:
        error = Failure(**header.pop("error")) if "error" in header else None
        return Event(job_id, **header, arrays=groups[0] if groups else {}, error=error)
    except (TypeError, KeyError) as error:
        raise CorruptFrame(f"not an event: {error}") from error


def decode_status(job_id: str, flat: list[bytes]) -> JobStatus:
    """What status.lua answers."""
    position, before, drain = flat[:3]
    job = {name.decode(): value.decode() for name, value in zip(flat[3::2], flat[4::2], strict=True)}
    rows, failed = int(job["row_count"]), job["state"] in ("failed", "cancelled", "expired")
    return JobStatus(
        id=job_id,
        operation=job["operation"],
        state=job["state"],  # type: ignore[arg-type]
        rows=rows,
        rows_finished=int(job["rows_finished"]),
        progress=float(job["progress"]) / rows,
        submitted_at=int(job["submitted_at"]) / 1e3,
        ended_at=int(job["ended_at"]) / 1e3 if "ended_at" in job else None,
        position=int(position) if position else None,
        start_in_seconds=float(before) / float(drain) if before else None,
        error=Failure(job["code"], job["message"]) if failed and "code" in job else None,
    )


def encode_worker(status: WorkerStatus) -> bytes:
    return orjson.dumps(status)


def decode_worker(text: bytes, beat_at: float) -> WorkerStatus:
    fields = orjson.loads(text)
    models = tuple(_served(model) for model in fields.pop("models"))
    return replace(WorkerStatus(**fields, models=models), beat_at=beat_at)


def _served(fields: Mapping[str, Any]) -> ServedModel:
    costs = {kind: CostCurve(**curve) for kind, curve in fields["costs"].items()}
    return ServedModel(ModelRef(**fields["ref"]), costs)


def encode_order(message: ControlMessage) -> bytes:
    return orjson.dumps(message)


def decode_order(text: bytes) -> ControlMessage:
    fields = orjson.loads(text)
    model = ModelRef(**fields["model"]) if fields["model"] else None
    return ControlMessage(fields["action"], model, fields["worker"])


def fields_of(message: bytes) -> Iterator[bytes]:
    """The length-prefixed fields of a reply."""
    at = 0
    while at < len(message):
        size = _FIELD.unpack_from(message, at)[0]
        yield message[at + _FIELD.size : at + _FIELD.size + size]
        at += _FIELD.size + size
