"""Requests about pictures that several families ask alike."""

import base64
from collections.abc import Iterator, Mapping
from typing import Any

from tests.answers import inputs, samples
from tests.answers.wire import CSV, JSON, NPY, PNG, SHORT, HttpRequest, ask, send


def pictures(
    model: str, operation: str, given: Mapping[str, Any], answers: tuple[str, ...] = (JSON, NPY, CSV)
) -> Iterator[HttpRequest]:
    """PNG, JPEG and WebP, rows of pixels, and one picture as the body."""
    found = samples.fashion(7)
    for count in (1, 2, 7):
        fields = {"images": samples.base64_png(found[:count]), **given, "seed": 2}
        yield ask(model, operation, f"png-{count}", fields, items=count)
    for kind in ("JPEG", "WebP"):
        fields = {"images": samples.base64_png(found[:1], kind), **given}
        yield ask(model, operation, kind.lower(), fields)
    yield from inputs.media(model, operation, "rows", samples.pixels(2), answers, given, (JSON, NPY, CSV))
    for accept in answers:
        case = f"body-png-{SHORT[accept]}"
        yield send(model, operation, case, (PNG, samples.png(found[0])), {**given, "seed": 3}, accept=accept)
    seeds = {"images": samples.base64_png(found[:2]), **given, "seeds": [9, 4]}
    yield ask(model, operation, "seeds", seeds, items=2)


def bad_pictures(model: str, operation: str, given: Mapping[str, Any]) -> Iterator[HttpRequest]:
    """Three pictures, the one in the middle bad in each way that a picture can be: refused, and skipped."""
    good, row = samples.base64_png(samples.fashion(3)), samples.pixels(3)
    whole = samples.png(samples.fashion(1)[0])
    faults = {
        "base64": "not base64",
        "no-picture": base64.b64encode(b"no picture").decode(),
        "truncated": base64.b64encode(whole[: len(whole) // 2]).decode(),
        "small": samples.base64_png(samples.small(1, 2))[0],
        "empty": "",
    }
    for name, fault in faults.items():
        for on_error in ("fail", "skip"):
            fields = {"images": [good[0], fault, good[2]], **given, "on_error": on_error}
            yield ask(model, operation, f"bad-{name}-{on_error}", fields, items=3)
    for name, bad in {"beyond-one": [1.5, *row[1][1:]], "short": row[1][1:], "negative": [-0.1, *row[1][1:]]}.items():
        fields = {"rows": [row[0], bad, row[2]], **given, "on_error": "skip"}
        yield ask(model, operation, f"bad-row-{name}-skip", fields, items=3)
    yield ask(model, operation, "images-and-rows", {"images": good, "rows": row, **given}, items=3)
    yield ask(model, operation, "neither", given)
