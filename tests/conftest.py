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


@pytest.hookimpl(tryfirst=True)  # before the groups are read
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A file's tests share what they start, and so run in one process; all that need trained toys share these.

    The toys go first: they take the longest.
    """
    trains = {item.path for item in items if "trained" in getattr(item, "fixturenames", ())}
    for item in items:
        item.add_marker(pytest.mark.xdist_group("toys" if item.path in trains else str(item.path)))
    items.sort(key=lambda item: item.path not in trains)
