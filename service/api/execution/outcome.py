"""What became of a request: its rows' events -> items, parameters, meta; the same whoever asks, and when."""

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel

from fivefold.errors import Cancelled, DeadlineExceeded, FivefoldError, InvalidInput, error_of
from fivefold.operation import SamplingRequest, SeededRequest
from model_store.store import Model
from service.api.media.response_body import Rendered
from service.arrays import fingerprint
from service.broker.base import Producer
from service.families.pipeline import Fields, Pipeline, Refusal
from service.jobs import Event, Row


class Asked(BaseModel):
    """What an outcome is made anew from, together with its events: the effective request, in JSON, and its arrival."""

    request: str
    arrived_at: float


@dataclass(kw_only=True)
class Outcome:
    """An effective request, its prepared items, the jobs of its rows, and how each row ended.

    Times are in seconds since the epoch; `answered_at` is None where the answer is given as it is made.
    """

    request: SeededRequest
    pipeline: Pipeline[SeededRequest]
    model: Model
    prepared: Sequence[Row | Refusal]
    arrived_at: float
    submitted_at: float = 0.0
    finished_at: float = 0.0
    answered_at: float | None = None
    expired: bool = False
    job_ids: list[str] = field(default_factory=list)
    ends: dict[int, Event] = field(default_factory=dict)

    @property
    def rows(self) -> list[Row]:
        return [item for item in self.prepared if isinstance(item, Row)]

    def as_asked(self) -> bytes:
        """`Asked`, for another replica, or for later: see `stored_jobs.py`."""
        request = self.request.model_dump_json(by_alias=True, exclude_unset=True)
        return Asked(request=request, arrived_at=self.arrived_at).model_dump_json().encode()

    async def events(self, producer: Producer) -> AsyncIterator[Event]:
        """Every event, until each row has ended. Raises NotFound."""
        for job_id in tuple(self.job_ids):
            async for event in producer.events(job_id):
                if event.terminal:
                    self.ends[event.row] = event
                yield event
        self.finished_at = time.time()

    def chunk(self, event: Event, state: Fields) -> Fields | None:
        """A streamed step, as the operation's chunk has it; `state` is the stream's own."""
        return self.pipeline.chunk(self.request, event, state, self.model)

    def item(self, end: Event) -> Fields:
        """One finished row, as the answer will have it."""
        return self._fields([end])[0] if end.kind == "done" else self._failed(end.row)

    def rendered(self) -> Rendered:
        """The answer. Raises the first item's error where no item succeeded."""
        done = sorted((end for end in self.ends.values() if end.kind == "done"), key=lambda end: end.row)
        if not done:
            raise self._error(self.ends[min(self.ends)])
        fields = dict(zip((end.row for end in done), self._fields(done), strict=True))
        items = [fields.get(index) or self._failed(index) for index in range(len(self.prepared))]
        return Rendered(self.pipeline.operation, self.model, items, self._parameters(), self._meta(done))

    def _fields(self, done: Sequence[Event]) -> list[Fields]:
        seeds = {row.index: row.seed for row in self.rows}
        rendered = self.pipeline.render(self.request, done, self.model)
        return [
            {"index": end.row, "seed": seeds[end.row], **fields} for end, fields in zip(done, rendered, strict=True)
        ]

    def _failed(self, index: int) -> Fields:
        item = self.prepared[index]
        if isinstance(item, Refusal):
            return {"index": index, "error": {"code": InvalidInput.code, "message": item.message}}
        error = self._error(self.ends[index])
        return {"index": index, "error": {"code": error.code, "message": error.message}}

    def _error(self, end: Event) -> FivefoldError:
        """Why a row failed. What was cancelled here because its time was over has exceeded its deadline."""
        assert end.error is not None
        if self.expired and end.error.code == Cancelled.code:
            return DeadlineExceeded("the deadline passed before the row was finished")
        return error_of(end.error.code)(end.error.message)

    def _parameters(self) -> Mapping[str, object]:
        parameters = self.request.model_dump(by_alias=True, mode="json", exclude=set(type(self.request).data))
        return parameters | ({"n": len(self.prepared)} if isinstance(self.request, SamplingRequest) else {})

    def _meta(self, done: Sequence[Event]) -> Mapping[str, object]:
        ref, manifest = self.model.ref, self.model.manifest
        compute_ms = max(end.compute_ms for end in done)
        return {
            "model": {"name": ref.name, "version": ref.version, "digest": ref.digest},
            "exactness": manifest.exactness,
            "scope": ", ".join(sorted({end.scope for end in done} - {""})),
            "timing": {
                "queue_ms": max(0.0, (self.finished_at - self.submitted_at) * 1e3 - compute_ms),
                "compute_ms": compute_ms,
                "total_ms": ((self.answered_at or time.time()) - self.arrived_at) * 1e3,
            },
            "receipt": fingerprint(end.arrays for end in done),
        }
