"""One service with the toy family for each test, with small limits, and a connection to it."""

from collections.abc import Iterator

import httpx
import pytest
from served import Service, serving

from model_store.store import Store


@pytest.fixture
def service(toy_store: Store) -> Iterator[Service]:
    with serving(toy_store, max_rows=1000, max_body_bytes=100_000) as running:
        yield running


@pytest.fixture
def http(service: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=30) as client:
        yield client
