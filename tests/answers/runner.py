"""Asks a running service the recorded requests, one after another, and finds where two records differ."""

from collections.abc import Iterable, Iterator
from typing import Any

import httpx

from tests.answers.digests import Record, record_of
from tests.answers.wire import JSON, HttpRequest

Records = dict[str, Record]
PROBE = {"model": "flow-shuttle", "rows": [[0.0] * 9]}


def records_of(url: str, requests: Iterable[HttpRequest]) -> Records:
    """What the service at `url` answers, by the request's name."""
    with httpx.Client(base_url=url, timeout=60) as client:
        return {request.name: _ask(client, request) for request in requests}


def scope_of(url: str) -> str:
    """Runtime, device and instruction set: answers are the same to the last bit within one scope."""
    answer = httpx.post(f"{url}/v1/flow/encode", json=PROBE, headers={"accept": JSON}, timeout=60)
    return str(answer.raise_for_status().json()["meta"]["scope"])


def _ask(client: httpx.Client, request: HttpRequest) -> Record:
    answer = client.post(request.path, content=request.body, headers=dict(request.headers))
    return record_of(answer.status_code, answer.headers, answer.content)


def differences(expected: Records, found: Records) -> list[str]:
    """One line a request that differs: its name, the first field that does, and both values."""
    lines = [f"{name}: not recorded" for name in found if name not in expected]
    for name in found.keys() & expected.keys():
        first = next(_fields(expected[name], found[name], ""), None)
        lines += [f"{name}: {first}"] if first else []
    return sorted(lines)


def _fields(expected: Any, found: Any, place: str) -> Iterator[str]:
    if isinstance(expected, dict) and isinstance(found, dict):
        for name in sorted(expected.keys() | found.keys()):
            yield from _fields(expected.get(name), found.get(name), f"{place}.{name}".lstrip("."))
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for index, pair in enumerate(zip(expected, found, strict=True)):
            yield from _fields(*pair, f"{place}.{index}")
    elif expected != found or type(expected) is not type(found):
        yield f"{place} is {found!r}, {expected!r} expected"
