"""One family: its pipelines, and how the sessions of a loaded model are opened."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from model_store.store import Model
from service.families.pipeline import Pipeline
from service.families.session import Session
from service.graph import Graph

OpenSessions = Callable[[Model, Mapping[str, Graph]], Mapping[str, Session]]


@dataclass(frozen=True)
class Family:
    """One family: a pipeline per operation, and a session per kind for a loaded model."""

    name: str
    pipelines: tuple[Pipeline[Any], ...]
    open_sessions: OpenSessions
