"""Ids that clients see come from the system's randomness: no number of them predicts another."""

import ast
import random
from pathlib import Path

import numpy as np
import pytest

import service
from service.api.access.middleware import new_id
from service.api.execution.job_ids import new_job_id
from service.rng import draw_seed

PREDICTABLE = {"random", "uuid"}  # the Mersenne Twister, and ids that hold a clock and an address


@pytest.mark.parametrize("draw", [new_id, lambda: new_job_id("m@1", 1), draw_seed])
def test_an_id_does_not_depend_on_a_generator_that_can_be_seeded(draw) -> None:
    drawn = set()
    for _ in range(3):
        random.seed(0)
        np.random.seed(0)
        drawn.add(draw())
    assert len(drawn) == 3


@pytest.mark.parametrize("path", sorted(Path(service.__file__).parent.rglob("*.py")), ids=lambda path: path.stem)
def test_no_part_of_the_service_imports_a_predictable_generator(path: Path) -> None:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    imported = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    assert not imported & PREDICTABLE
