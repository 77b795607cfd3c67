"""Fixtures that several rooms use."""

from pathlib import Path

import pytest
import tiny_text
import toy

from model_store.store import Model, Store


@pytest.fixture
def toy_store(tmp_path: Path) -> Store:
    """A store with one toy model."""
    store = Store(tmp_path / "models")
    toy.publish_toy(store)
    return store


@pytest.fixture(scope="session")
def text_model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A tiny language model in a store of its own."""
    return tiny_text.publish_text(Store(tmp_path_factory.mktemp("text")))
