"""What the routes work with."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from service.api.execution.catalogue import Catalogue
from service.api.execution.stored_jobs import StoredJobs
from service.broker.base import Admin, Producer
from service.families.pipeline import Pipeline
from service.settings import Settings


class Queue(Producer, Admin, Protocol):
    """The faces of the broker that the API sees."""


@dataclass(frozen=True)
class ApiContext:
    """`pipelines` are by the path of their operation; `waiting` counts requests by the job they wait for."""

    settings: Settings
    producer: Producer
    catalogue: Catalogue
    pipelines: Mapping[str, Pipeline[Any]]
    waiting: Counter[str] = field(default_factory=Counter)

    @property
    def jobs(self) -> StoredJobs:
        return StoredJobs(self.producer, self.catalogue, self.pipelines)
