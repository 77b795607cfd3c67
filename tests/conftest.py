"""Fixtures that several rooms use."""

from pathlib import Path

import pytest
import tiny_text
import toy
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from model_store.store import Model, Store

TRAINING = "tests/training/"


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


class RoomScheduling(LoadFileScheduling):
    """A file's tests share what they start, and so run in one process; those of training share its toys."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return TRAINING if file.startswith(TRAINING) else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> RoomScheduling:
    return RoomScheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The room that takes the longest goes first."""
    items.sort(key=lambda item: not item.nodeid.startswith(TRAINING))
