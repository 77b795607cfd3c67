"""All jobs of one model that are submitted in one tick: one script."""

import asyncio
from asyncio import AbstractEventLoop, Future
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain

from fivefold.errors import FivefoldError, InternalError
from service.broker import admission
from service.broker.base import Accepted
from service.broker.codec import encode_job
from service.broker.redis.keys import prefix
from service.broker.redis.pipelined_connection import settle
from service.broker.redis.script_client import ScriptClient
from service.broker.redis.scripts import fields_of
from service.jobs import Job

MOST_JOBS = 64  # of one script: the server does nothing else meanwhile


@dataclass(frozen=True, eq=False)
class Submission:
    """A job, as the script takes it, and its submitter, who waits."""

    job: Job
    left_ms: int | None
    arguments: Sequence[object]
    answer: "Future[Accepted]"


class Enqueuing:
    """Collects what is submitted in one tick of an event loop."""

    def __init__(self, client: ScriptClient) -> None:
        self._client = client
        self._waiting: dict[tuple[AbstractEventLoop, str], list[Submission]] = {}

    async def enqueue(self, job: Job) -> Accepted:
        """Raises QueueFull, InvalidInput, IdempotencyConflict, QueueAway."""
        loop = asyncio.get_running_loop()
        submission = self._submission(job, loop.create_future())
        key = loop, str(job.model)
        if key not in self._waiting:
            self._waiting[key] = []
            loop.call_soon(self._send, key)
        self._waiting[key].append(submission)
        return await submission.answer

    def _submission(self, job: Job, answer: "Future[Accepted]") -> Submission:
        left_ms = None if job.deadline is None else round((job.deadline - self._client.clock()) * 1e3)
        fields = fields_of(job, self._client.limits)
        arguments = job.id, encode_job(job), job.request, "" if left_ms is None else left_ms, *fields
        return Submission(job, left_ms, arguments, answer)

    def _send(self, key: tuple[AbstractEventLoop, str]) -> None:
        waiting = self._waiting.pop(key)
        for part in (waiting[start : start + MOST_JOBS] for start in range(0, len(waiting), MOST_JOBS)):
            arguments = chain.from_iterable(one.arguments for one in part)
            asked = self._client.ask("enqueue", [prefix(key[1])], self._client.id, *arguments)
            asked.add_done_callback(partial(self._settle, part))

    def _settle(self, part: Sequence[Submission], asked: "Future[list[list[bytes]]]") -> None:
        error = asked.exception()
        answers = [error] * len(part) if error is not None else map(self._outcome, part, asked.result())
        for one, answer in zip(part, answers, strict=True):
            settle(one.answer, answer)

    def _outcome(self, one: Submission, answer: Sequence[bytes]) -> Accepted | FivefoldError:
        outcome, *facts = answer[0].decode(), *answer[1:]
        job = one.job
        if outcome in ("accepted", "existing"):
            return Accepted(facts[0].decode(), existing=outcome == "existing")
        if outcome == "other_body":
            return admission.other_body(job.idempotency_key or job.id, facts[0].decode(), job.body_sha256)
        if outcome == "broken":
            return InternalError(f"the queue's server did not take the job: {facts[0].decode(errors='replace')}")
        return self._no_room(outcome, one, [float(fact) for fact in facts])

    def _no_room(self, outcome: str, one: Submission, numbers: Sequence[float]) -> FivefoldError:
        job, limits = one.job, self._client.limits
        if outcome == "full_of_bytes":
            held_bytes, job_bytes, seconds, drain_rate = numbers
            return admission.full_of_bytes(int(held_bytes), int(job_bytes), limits.max_queue_bytes, seconds, drain_rate)
        if outcome == "full_of_work":
            return admission.full_of_work(numbers[0], job.predicted_seconds, limits.max_queue_seconds, numbers[1])
        if outcome == "full_of_jobs":
            return admission.full_of_jobs(int(numbers[0]), numbers[1], limits.max_queued_jobs, numbers[2])
        return admission.too_late(numbers[0], job.predicted_seconds, (one.left_ms or 0) / 1e3)
