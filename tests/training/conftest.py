"""Toys that several tests look at, trained once."""

from functools import cache
from pathlib import Path

import pytest
from recipes import Trained, train


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A function that trains the toy of a recipe, once, and returns its folder."""

    @cache
    def once(name: str) -> Path:
        folder = tmp_path_factory.mktemp(name)
        assert train(name, folder) == 0
        return folder

    return once
