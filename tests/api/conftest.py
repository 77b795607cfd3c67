"""One service with the toy family for the tests of a file, and a connection to it."""

from collections.abc import Iterator

import httpx
import pytest
import toy
from served import Service, serving

from model_store.store import Store


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    store = Store(tmp_path_factory.mktemp("store") / "models")
    toy.publish_toy(store)
    with serving(store) as running:
        yield running


@pytest.fixture
def http(service: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=30) as client:
        yield client
