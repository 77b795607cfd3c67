"""Every shipped model and operation: the same bytes whatever shares the batch."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest
import toy
from exactness import CELLS, Case, assert_exact
from shipped import REQUESTS

from fivefold.operation import SeededRequest
from model_store.store import Model, Store
from service.families.family import Family, Sessions
from service.families.registry import FAMILIES
from service.graph import Graph
from service.jobs import Block
from service.runtime import onnx
from service.settings import Settings

FAMILY_BY_NAME = {family.name: family for family in FAMILIES}


def engines(model: Model) -> list[dict[str, Graph]]:
    """The model's graphs with one engine thread, and with two."""
    loaders = [partial(onnx.load_graph, settings=Settings(intra_op_threads=threads)) for threads in (1, 2)]
    specs = model.manifest.graphs
    return [{name: load(model.graph(name), specs[name]) for name in specs} for load in loaders]


def cases_of(family: Family, requests: dict[str, list[SeededRequest]]) -> list[Case]:
    pipelines = {pipeline.operation.name: pipeline for pipeline in family.pipelines}
    assert set(requests) == set(pipelines), "the matrix covers every operation"
    with_session = (name for name in requests if pipelines[name].kind is not None)
    return [Case(pipelines[name], request) for name in with_session for request in requests[name]]


@pytest.mark.timeout(900)  # hundreds of batches, with two engine threads on whatever cores are free
@pytest.mark.parametrize("name", REQUESTS)
def test_a_shipped_model_answers_every_row_alike(name: str) -> None:
    model = Store().resolve(name)
    family = FAMILY_BY_NAME[model.manifest.params.family]
    cases = cases_of(family, REQUESTS[name]())
    assert assert_exact(family, model, engines(model), cases) == 2 * CELLS * len(cases)


def test_the_matrix_sees_a_family_that_couples_its_rows(toy_store: Store) -> None:
    model = toy_store.resolve("toy-affine")
    requests = {
        "scale": [toy.ToyScaleRequest(rows=[[1, 2, 3, seed]]) for seed in range(3)],
        "count": [toy.ToyCountRequest(seed=seed, steps=seed + 1) for seed in range(3)],
    }
    assert assert_exact(toy.TOY, model, engines(model), cases_of(toy.TOY, requests)) == 2 * CELLS * 6

    def coupled(model: Model, graphs: dict[str, Graph], settings: Settings) -> Sessions:
        sessions = toy.open_sessions(model, graphs, settings)
        session = sessions[toy.ToyScaling]
        inner = session.run
        session.run = lambda blocks: [{"y": done["y"] + disturbance(blocks)} for done in inner(blocks)]
        return sessions

    def disturbance(blocks: Sequence[Block]) -> np.float32:
        return np.float32(1e-6) * sum(map(len, blocks))

    family = Family("toy", toy.TOY.pipelines, coupled)
    with pytest.raises(AssertionError, match="batch 2 position 0"):
        assert_exact(family, model, engines(model), cases_of(family, requests))
