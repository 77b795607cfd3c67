"""What workers say of themselves, and what an operator orders them to do."""

from dataclasses import dataclass
from typing import Literal

from model_store.store import ModelRef
from service.costs import Costs


@dataclass(frozen=True)
class ServedModel:
    """A model that a worker runs jobs of, with the cost of each of its graphs.

    One that is not `loaded` is available: it had to make room, and is loaded again for the next job of it.
    """

    ref: ModelRef
    costs: Costs
    loaded: bool = True


@dataclass(frozen=True)
class WorkerStatus:
    """A worker's heartbeat. Answers are exact among workers of equal `scope` (runtime, device, instruction set).

    `formats` are the formats of messages that it reads; `beat_at` is in seconds since the epoch, by the broker's clock.
    """

    id: str
    device: str
    scope: str
    models: tuple[ServedModel, ...] = ()
    rows_run: int = 0
    formats: tuple[int, ...] = ()
    beat_at: float = 0.0


@dataclass(frozen=True)
class ControlMessage:
    """What an operator asks of the workers: of the one with the id `worker`, or of all."""

    action: Literal["load", "unload", "drain"]
    model: ModelRef | None = None
    worker: str | None = None
