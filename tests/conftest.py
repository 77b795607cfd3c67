"""Fixtures that several rooms use."""

from pathlib import Path

import pytest
import toy

from model_store.store import Store


@pytest.fixture
def toy_store(tmp_path: Path) -> Store:
    """A store with one toy model."""
    store = Store(tmp_path / "models")
    toy.publish_toy(store)
    return store
