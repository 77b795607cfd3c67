"""HTTP requests as values: a name, a path, headers and a body."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

JSON, NPY, CSV = "application/json", "application/x-npy", "text/csv"
PNG, APNG, EVENTS = "image/png", "image/apng", "text/event-stream"
SHORT = {JSON: "json", NPY: "npy", CSV: "csv", PNG: "png", APNG: "apng", EVENTS: "events"}


@dataclass(frozen=True)
class HttpRequest:
    """One POST. `name` is "model/operation/case"; `items` is how many items it asks for."""

    name: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    items: int

    @property
    def model(self) -> str:
        return self.name.split("/")[0]

    @property
    def operation(self) -> str:
        """ "model/operation"."""
        return self.name.rpartition("/")[0]

    @property
    def streams(self) -> bool:
        return self.headers["accept"] == EVENTS


def ask(
    model: str, operation: str, case: str, fields: Mapping[str, Any], *, accept: str = JSON, items: int = 1
) -> HttpRequest:
    """A request with a JSON body."""
    headers = {"content-type": JSON, "accept": accept}
    body = json.dumps({"model": model, **fields}).encode()
    return HttpRequest(f"{model}/{operation}/{case}", _path(model, operation), headers, body, items)


def send(
    model: str,
    operation: str,
    case: str,
    body: tuple[str, bytes],
    query: Mapping[str, Any],
    *,
    accept: str = JSON,
    items: int = 1,
) -> HttpRequest:
    """A request whose `body` is (media type, bytes) and whose other fields are in the query string."""
    media_type, content = body
    path = f"{_path(model, operation)}?{urlencode({'model': model, **query}, doseq=True)}"
    headers = {"content-type": media_type, "accept": accept}
    return HttpRequest(f"{model}/{operation}/{case}", path, headers, content, items)


def _path(model: str, operation: str) -> str:
    return f"/v1/{model.partition('-')[0]}/{operation}"
