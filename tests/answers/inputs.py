"""Requests about rows and latents that every family asks alike: media types, seeds, sizes, and bad items."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.answers import samples
from tests.answers.samples import Rows
from tests.answers.wire import CSV, JSON, NPY, SHORT, HttpRequest, ask, send

HEADER = [f"V{column}" for column in range(1, 10)]


def media(
    model: str,
    operation: str,
    field: str,
    rows: Rows,
    answers: Sequence[str],
    given: Mapping[str, Any],
    bodies: Sequence[str] = (JSON, NPY, CSV),
    prefix: str = "",
) -> Iterator[HttpRequest]:
    """The rows in every media type, answered in each of `answers`; `given` are the other fields."""
    written = {NPY: samples.npy(rows), CSV: samples.csv(rows)}
    for accept in answers:
        for media_type in bodies:
            case = f"{prefix}rows-{len(rows)}-{SHORT[media_type]}-{SHORT[accept]}"
            counts: dict[str, Any] = {"accept": accept, "items": len(rows)}
            if media_type == JSON:
                yield ask(model, operation, case, {field: rows, **given}, **counts)
            else:
                yield send(model, operation, case, written[media_type], given, **counts)


def seeds(model: str, operation: str, field: str, values: Sequence[Any]) -> Iterator[HttpRequest]:
    """`seed`, `seeds`, and seeds that cannot be."""
    count = len(values)
    own = [7 + 1000 * index for index in range(count)]
    cases: dict[str, dict[str, Any]] = {
        "seed-5": {"seed": 5},
        "seeds": {"seeds": own},
        "seeds-equal": {"seeds": [2**52] * count},
        "seeds-too-many": {"seeds": [*own, 1]},
        "seed-and-seeds": {"seed": 3, "seeds": own},
        "seed-too-large": {"seed": 2**53 - 1},
    }
    for case, given in cases.items():
        yield ask(model, operation, case, {field: values, **given}, items=count)


def sizes(
    model: str, operation: str, field: str, rows: Rows, counts: Sequence[int], given: Mapping[str, Any]
) -> Iterator[HttpRequest]:
    for count in counts:
        yield ask(model, operation, f"rows-{count}", {field: rows[:count], **given}, items=count)


def with_holes(rows: Rows, bad: Sequence[list[float]], at: Sequence[int]) -> Rows:
    """The rows, with a bad one in each place `at`."""
    found = list(rows)
    for place, row in zip(at, bad, strict=True):
        found[place] = row
    return found


def bad_rows(model: str, operation: str, field: str, rows: Rows, given: Mapping[str, Any]) -> Iterator[HttpRequest]:
    """Seven rows, the one in the middle bad in each way that a row can be: refused, and skipped."""
    good = rows[:7]
    faults: dict[str, list[Any]] = {
        "short": good[3][:-1],
        "long": [*good[3], 0.0],
        "empty": [],
        "beyond-float32": [1e39, *good[3][1:]],
        "text": ["x", *good[3][1:]],
        "null": [None, *good[3][1:]],
    }
    for name, fault in faults.items():
        broken = {field: [*good[:3], fault, *good[4:]], **given}
        yield ask(model, operation, f"bad-{name}-fail", {**broken, "on_error": "fail"}, items=7)
        yield ask(model, operation, f"bad-{name}-skip", {**broken, "on_error": "skip"}, items=7)
    several = with_holes(good, [[], [1e39, *good[2][1:]], good[6][:-1]], [0, 2, 6])
    yield ask(model, operation, "bad-several-skip", {field: several, **given, "on_error": "skip"}, items=7)
    yield ask(model, operation, "bad-all-skip", {field: [[], []], **given, "on_error": "skip"}, items=2)
    yield ask(model, operation, "no-rows", {field: [], **given}, items=0)
    skipping = {**given, "on_error": "skip"}
    not_finite = with_holes(good, [[float("nan"), *good[3][1:]]], [3])
    ragged = samples.csv([*good[:3], good[3][:-1], *good[4:]])
    for name, body in {
        "nan-npy": samples.npy(not_finite),
        "nan-csv": samples.csv(not_finite),
        "beyond-float32-npy": samples.npy(with_holes(good, [[1e39, *good[3][1:]]], [3])),
        "word-csv": samples.csv(with_holes(good, [["x", *good[3][1:]]], [3])),
        "missing-csv": samples.csv(with_holes(good, [["", *good[3][1:]]], [3])),
        "ragged-csv": ragged,
    }.items():
        yield send(model, operation, f"bad-{name}-skip", body, skipping, items=7)
    yield send(model, operation, "bad-ragged-csv-skip-csv", ragged, skipping, accept=CSV, items=7)


def long_tables(model: str, operation: str, field: str, rows: Rows, given: Mapping[str, Any]) -> Iterator[HttpRequest]:
    """More than 256 and 512 rows, which are cut into several jobs; with and without holes."""
    yield from media(model, operation, field, rows[:300], (JSON, NPY, CSV), given, (NPY,))
    yield from media(model, operation, field, rows[:600], (JSON,), given)
    skipping = {**given, "on_error": "skip"}
    yield from media(model, operation, field, rows[:300], (NPY, CSV), skipping, (NPY,), "skip-")
    places = {300: [3, 255, 256, 299], 520: [*range(250, 520)], 600: [0, 254, 255, 256, 511, 512, 599]}
    for count, holes in places.items():
        broken = with_holes(rows[:count], [[1.0] * (place % 3) for place in holes], holes)
        case = f"rows-{count}-skip-{len(holes)}-holes"
        yield ask(model, operation, case, {field: broken, **skipping}, items=count)
    too_large = with_holes(rows[:300], [[1e39, *rows[256][1:]]], [256])
    for accept in (JSON, CSV):
        case = f"rows-300-skip-1-hole-npy-{SHORT[accept]}"
        yield send(model, operation, case, samples.npy(too_large), skipping, accept=accept, items=300)
