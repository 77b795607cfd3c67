"""A job that is asked about later, on any replica: its state over all shards, and its outcome made anew."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from fivefold.errors import NotFound
from fivefold.operation import SeededRequest
from service.api.execution.catalogue import Catalogue
from service.api.execution.job_documents import whole
from service.api.execution.job_ids import JobId
from service.api.execution.outcome import Asked, Outcome
from service.api.media import offload
from service.api.media.json_body import read_json
from service.broker.base import JobStatus, Producer
from service.families.pipeline import Pipeline


def unknown_job(job_id: str) -> NotFound:
    """The same for a job that never was, one that is forgotten, and one of another tenant."""
    return NotFound(f"there is no job {job_id[:150]!r}: it may have been forgotten since it ended; see /v1/jobs")


@dataclass(kw_only=True)
class StoredOutcome(Outcome):
    """An outcome whose jobs another request, perhaps to another replica, has put into the queue."""

    jobs: "StoredJobs"
    tenant: str

    async def finish(self) -> None:
        await super().finish()
        with suppress(NotFound):  # it was forgotten as it ended
            status = await self.jobs.status(self.job_ids[0], self.tenant)
            self.finished_at = self.answered_at = status.ended_at or self.finished_at


@dataclass(frozen=True)
class StoredJobs:
    """The jobs of all tenants, each visible to its own alone."""

    producer: Producer
    catalogue: Catalogue
    pipelines: Mapping[str, Pipeline[Any]]

    async def status(self, job_id: str, tenant: str) -> JobStatus:
        """Of all shards together. Raises NotFound."""
        status = whole(await self._shards(self.parse(job_id), tenant))
        if status.operation not in self.pipelines:  # another service's job, in the same queue
            raise unknown_job(job_id)
        return status

    async def page(self, tenant: str, cursor: str | None) -> tuple[list[JobStatus], str | None]:
        """The tenant's jobs, newest first, and the cursor of the next page."""
        firsts, following = await self.producer.jobs(tenant, cursor)
        statuses = await asyncio.gather(*(self._status_of(first, tenant) for first in firsts))
        return [status for status in statuses if status is not None], following

    async def cancel(self, job_id: str, tenant: str) -> None:
        """Its rows leave the device at the next step. What has ended stays as it is. Raises NotFound."""
        await self.status(job_id, tenant)
        for shard in self.parse(job_id).shard_ids:
            await self.producer.cancel(shard, tenant)

    async def restore(self, status: JobStatus, tenant: str) -> StoredOutcome:
        """The outcome, as yet without its events. Raises NotFound, UnknownModel where the store has not the version."""
        if not (content := await self.producer.request(status.id, tenant)):
            raise unknown_job(status.id)
        job_id, pipeline = self.parse(status.id), self.pipelines[status.operation]
        model = self.catalogue.model(job_id.model)

        def read() -> StoredOutcome:
            asked = Asked.model_validate_json(content)
            request: SeededRequest = read_json(pipeline.operation.request, asked.request.encode())
            return StoredOutcome(
                request=request,
                pipeline=pipeline,
                model=model,
                prepared=pipeline.prepare(request, model),
                arrived_at=asked.arrived_at,
                submitted_at=status.submitted_at,
                job_ids=job_id.shard_ids,
                jobs=self,
                tenant=tenant,
            )

        return await offload.run(read, large=len(content) > offload.LARGE_BYTES)

    async def ended(self, status: JobStatus, tenant: str) -> StoredOutcome:
        """The outcome of a job that has ended, with all of its events."""
        outcome = await self.restore(status, tenant)
        await outcome.collect(self.producer)
        return outcome

    def parse(self, job_id: str) -> JobId:
        """Raises NotFound."""
        if (parsed := JobId.parse(job_id)) is None:
            raise unknown_job(job_id)
        return parsed

    async def _shards(self, job_id: JobId, tenant: str) -> Sequence[JobStatus]:
        """The first one alone at first: an id that is made up may tell of thousands."""
        try:
            first = await self.producer.status(job_id.text, tenant)
            others = (self.producer.status(shard, tenant) for shard in job_id.shard_ids[1:])
            return [first, *await asyncio.gather(*others)]
        except NotFound:
            raise unknown_job(job_id.text) from None

    async def _status_of(self, first: JobStatus, tenant: str) -> JobStatus | None:
        """None where other shards are forgotten, or the one who submitted them stopped in the middle."""
        with suppress(NotFound):
            return first if self.parse(first.id).shards == 1 else await self.status(first.id, tenant)
        return None
