"""What became of a request: the ends of its rows -> items, parameters, meta; the same whoever asks, and when."""

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
from pydantic import BaseModel

from fivefold.errors import Cancelled, DeadlineExceeded, FivefoldError, InvalidInput, NotFound, item_error
from fivefold.operation import SamplingRequest, SeededRequest
from model_store.store import Model
from service.api.media.response_body import Rendered
from service.arrays import fingerprint, item_of, join, select
from service.broker.base import Producer
from service.families.pipeline import FieldColumns, Fields, ItemStep, Pipeline, Prepared, Results
from service.jobs import Events, Failure


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
    prepared: Prepared
    arrived_at: float
    submitted_at: float = 0.0
    finished_at: float = 0.0
    answered_at: float | None = None
    expired: bool = False
    job_ids: list[str] = field(default_factory=list)
    ends: list[Events] = field(default_factory=list)

    def as_asked(self) -> bytes:
        """`Asked`, for another replica, or for later: see `stored_jobs.py`."""
        request = self.request.model_dump_json(by_alias=True, exclude_unset=True)
        return Asked(request=request, arrived_at=self.arrived_at).model_dump_json().encode()

    async def collect(self, producer: Producer) -> None:
        """Wait until each row has ended. Raises what `lost` says."""
        try:
            for job_id in tuple(self.job_ids):
                self.ends += await producer.ends(job_id)
        except NotFound as error:
            raise self.lost(error) from None
        await self.finish()

    async def events(self, producer: Producer) -> AsyncIterator[Events]:
        """The same, with every step and end as it happens."""
        try:
            for job_id in tuple(self.job_ids):
                async for events in producer.events(job_id):
                    if events.terminal:
                        self.ends.append(events)
                    yield events
        except NotFound as error:
            raise self.lost(error) from None
        await self.finish()

    async def finish(self) -> None:
        """Note that each row has ended."""
        self.finished_at = time.time()

    def lost(self, error: NotFound) -> FivefoldError:
        """What it means that the queue does not know a job."""
        return error

    def chunk(self, events: Events, place: int, state: Fields) -> Fields | None:
        """A streamed step, as the operation's chunk has it; `state` is the stream's own."""
        step = ItemStep(int(events.rows[place]), int(events.steps[place]), item_of(events.columns, place))
        return self.pipeline.chunk(self.request, step, state, self.model)

    def fields(self, done: Results) -> FieldColumns:
        """The fields of finished items, index and seed first."""
        block = self.prepared.block
        every = len(done.rows) == len(block)
        seeds = block.seeds if every else block.seeds[block.positions(done.rows)]
        return {"index": done.rows, "seed": seeds, **self.pipeline.render(self.request, done, self.model)}

    def failures(self, ends: Sequence[Events]) -> dict[int, Fields]:
        """The items of rows that failed, by index."""
        failed = [(end, self._error(end.failure)) for end in ends if end.failure is not None]
        return {row: _failed_item(row, error) for end, error in failed for row in end.rows.tolist()}

    def rendered(self) -> Rendered:
        """The answer. Raises the first item's error where no item succeeded."""
        done = [end for end in self.ends if end.kind == "done"]
        if not done:
            first = min(self.ends, key=lambda end: int(end.rows.min()))
            assert first.failure is not None
            raise self._error(first.failure)
        refused = {row: _failed_item(row, InvalidInput(text)) for row, text in self.prepared.refusals.items()}
        results = _table(done)
        return Rendered(
            self.pipeline.operation,
            self.model,
            self.fields(results),
            refused | self.failures(self.ends),
            self._parameters(),
            self._meta(done, fingerprint(results.columns, len(results.rows))),
            self.request.gives_numbers,
        )

    def _error(self, failure: Failure) -> FivefoldError:
        """Why rows failed. What was cancelled here because its time was over has exceeded its deadline."""
        if self.expired and failure.code == Cancelled.code:
            return DeadlineExceeded("the deadline passed before the row was finished")
        return item_error(failure.code, failure.message, of_input=self.request.gives_numbers)

    def _parameters(self) -> Mapping[str, object]:
        parameters = self.request.model_dump(by_alias=True, mode="json", exclude=set(type(self.request).data))
        return parameters | ({"n": self.prepared.count} if isinstance(self.request, SamplingRequest) else {})

    def _meta(self, done: Sequence[Events], receipt: str) -> Mapping[str, object]:
        ref, manifest = self.model.ref, self.model.manifest
        compute_ms = max(chain.from_iterable(end.compute_ms.tolist() for end in done), default=0.0)
        return {
            "model": {"name": ref.name, "version": ref.version, "digest": ref.digest},
            "exactness": manifest.exactness,
            "scope": ", ".join(sorted({end.scope for end in done} - {""})),
            "timing": {
                "queue_ms": max(0.0, (self.finished_at - self.submitted_at) * 1e3 - compute_ms),
                "compute_ms": compute_ms,
                "total_ms": ((self.answered_at or time.time()) - self.arrived_at) * 1e3,
            },
            "receipt": receipt,
        }


def _table(done: Sequence[Events]) -> Results:
    """All finished items, rows ascending; those of one block are not copied."""
    if len(done) == 1:
        return Results(done[0].rows, done[0].columns)
    rows, columns = np.concatenate([end.rows for end in done]), join([end.columns for end in done])
    if (rows[1:] > rows[:-1]).all():
        return Results(rows, columns)
    order = np.argsort(rows)
    return Results(rows[order], select(columns, order))


def _failed_item(index: int, error: FivefoldError) -> Fields:
    return {"index": index, "error": {"code": error.code, "message": error.message}}
