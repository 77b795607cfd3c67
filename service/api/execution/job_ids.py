"""The ids of jobs: "name@version-" and 32 hexadecimal digits; "x3" behind them where the request has 3 shards.

So the model and the number of shards are known without a look at the request, which may be megabytes.
"""

import re
from dataclasses import dataclass

from service.api.access.middleware import new_id

JOB_ID = re.compile(r"([a-z0-9][a-z0-9_.-]{0,63}@[a-z0-9][a-z0-9_.-]{0,63})-[0-9a-f]{32}(?:x([1-9][0-9]{0,3}))?")


def new_job_id(model: str, shards: int) -> str:
    """Of a request's first shard, and of the whole as its client knows it."""
    return f"{model}-{new_id()}" + (f"x{shards}" if shards > 1 else "")


def shard_id(job_id: str, shard: int) -> str:
    return f"{job_id}.{shard}" if shard else job_id


@dataclass(frozen=True)
class JobId:
    """A job's id, read."""

    text: str
    model: str
    shards: int

    @classmethod
    def parse(cls, text: str) -> "JobId | None":
        """None for what is no id of a job."""
        found = JOB_ID.fullmatch(text)
        return found and cls(text, found[1], int(found[2] or 1))

    @property
    def shard_ids(self) -> list[str]:
        return [shard_id(self.text, shard) for shard in range(self.shards)]
