"""A real service in a process of its own, with the models that ship."""

from collections.abc import Iterator

import pytest

from benchmarks.server import Server, running


@pytest.fixture(scope="session")
def service() -> Iterator[Server]:
    with running(intra_op_threads="1") as server:
        yield server
