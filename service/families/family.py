"""One family: its pipelines, and how the sessions of a loaded model are opened."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from model_store.store import Model
from service.families.pipeline import Pipeline
from service.families.session import Session
from service.graph import Graph
from service.jobs import Kinds, Parameters
from service.settings import Settings

Sessions = Mapping[type[Parameters], Session]
OpenSessions = Callable[[Model, Mapping[str, Graph], Settings], Sessions]


@dataclass(frozen=True)
class Family:
    """One family: a pipeline per operation, and for a loaded model a session per kind of parameters."""

    name: str
    pipelines: tuple[Pipeline[Any], ...]
    open_sessions: OpenSessions


def kinds_of(families: Iterable[Family]) -> Kinds:
    """The kinds of all families by name. Raises ValueError where two have one name."""
    kinds: dict[str, type[Parameters]] = {}
    for pipeline in (pipeline for family in families for pipeline in family.pipelines):
        if pipeline.kind is not None and kinds.setdefault(pipeline.kind.__name__, pipeline.kind) is not pipeline.kind:
            raise ValueError(f"two kinds of session are named {pipeline.kind.__name__}: rename one")
    return kinds
