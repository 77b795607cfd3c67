"""Requests of the flow family: a table and pictures."""

from collections.abc import Iterator

from tests.answers import inputs, samples
from tests.answers.picture_requests import bad_pictures, pictures
from tests.answers.wire import APNG, CSV, JSON, NPY, PNG, HttpRequest, ask, send

TABLE, PICTURES = "flow-shuttle", "flow-fashion"


def flow_requests() -> Iterator[HttpRequest]:
    yield from _table_scores()
    yield from _table_draws()
    yield from _picture_scores()
    yield from _picture_draws()


def _table_scores() -> Iterator[HttpRequest]:
    rows = samples.shuttle(600)
    for operation in ("log-likelihood", "encode"):
        yield from inputs.sizes(TABLE, operation, "rows", rows, (1, 2, 33), {})
        yield from inputs.media(TABLE, operation, "rows", rows[:7], (JSON, NPY, CSV), {"seed": 3})
        yield from inputs.seeds(TABLE, operation, "rows", rows[:7])
        yield from inputs.bad_rows(TABLE, operation, "rows", rows, {})
        yield from inputs.long_tables(TABLE, operation, "rows", rows, {"seed": 4})
        headed = samples.csv(rows[:7], inputs.HEADER)
        yield send(TABLE, operation, "header-csv-csv", headed, {}, accept=CSV, items=7)
        yield ask(TABLE, operation, "png-refused", {"rows": rows[:1]}, accept=PNG)
        yield ask(TABLE, operation, "images-to-a-table", {"images": samples.base64_png(samples.fashion(1))})
    waiting = {"rows": rows[:2], "priority": "bulk", "deadline_ms": 3_600_000}
    yield ask(TABLE, "log-likelihood", "priority-and-deadline", waiting, items=2)
    terms = {"rows": rows[:7], "include_terms": True, "seed": 1}
    yield ask(TABLE, "log-likelihood", "include-terms", terms, items=7)
    yield ask(TABLE, "log-likelihood", "include-terms-csv", terms, accept=CSV, items=7)
    many = {"rows": rows[:300], "include_terms": True}
    yield ask(TABLE, "log-likelihood", "include-terms-rows-300", many, items=300)


def _table_draws() -> Iterator[HttpRequest]:
    latents = samples.latents(600, 9)
    yield from inputs.sizes(TABLE, "decode", "latents", latents, (1, 2, 33), {"seed": 2})
    yield from inputs.media(TABLE, "decode", "latents", latents[:7], (JSON, NPY, CSV), {"seed": 2})
    yield from inputs.seeds(TABLE, "decode", "latents", latents[:7])
    yield from inputs.bad_rows(TABLE, "decode", "latents", latents, {})
    yield from inputs.long_tables(TABLE, "decode", "latents", latents, {"seed": 4})
    for count in (1, 2, 7, 33, 300, 600):
        for accept, kind in ((JSON, "json"), (NPY, "npy"), (CSV, "csv")):
            if count in (7, 300) or accept == JSON:
                fields = {"n": count, "seed": 11}
                yield ask(TABLE, "sample", f"n-{count}-{kind}", fields, accept=accept, items=count)
    for temperature in (0, 0.5, 2):
        fields = {"n": 7, "seed": 5, "temperature": temperature}
        yield ask(TABLE, "sample", f"temperature-{temperature}", fields, items=7)
    yield ask(TABLE, "sample", "seeds", {"seeds": [5, 5, 2**53 - 1]}, items=3)
    yield ask(TABLE, "sample", "seeds-and-n", {"seeds": [5, 9], "n": 2}, items=2)
    yield ask(TABLE, "sample", "seeds-and-other-n", {"seeds": [5, 9], "n": 3}, items=3)
    yield ask(TABLE, "sample", "temperature-3", {"seed": 5, "temperature": 3})
    yield ask(TABLE, "sample", "png-refused", {"seed": 5}, accept=PNG)
    yield from _walks(TABLE, {"rows": samples.shuttle(2)})
    for accept in (JSON, NPY, CSV):
        given = {"frames": 4, "path": "lerp", "seed": 1}
        yield from inputs.media(
            TABLE, "interpolate", "rows", samples.shuttle(2), (accept,), given, (NPY, CSV), "frames-4-"
        )
    yield ask(TABLE, "interpolate", "three-rows", {"rows": samples.shuttle(3)}, items=8)
    yield ask(TABLE, "interpolate", "bad-row", {"rows": [*samples.shuttle(1), [1.0]], "on_error": "skip"}, items=8)


def _walks(model: str, ends: dict[str, object]) -> Iterator[HttpRequest]:
    for path in ("slerp", "lerp"):
        for frames in (2, 5, 33):
            fields = {**ends, "path": path, "frames": frames, "seed": 6}
            yield ask(model, "interpolate", f"{path}-{frames}", fields, items=frames)
    yield ask(model, "interpolate", "seeds", {**ends, "seeds": [3, 9], "frames": 3}, items=3)
    yield ask(model, "interpolate", "defaults", ends, items=8)


def _picture_scores() -> Iterator[HttpRequest]:
    for operation in ("log-likelihood", "encode"):
        yield from pictures(PICTURES, operation, {})
        yield from bad_pictures(PICTURES, operation, {})
        yield ask(PICTURES, operation, "rows-33", {"rows": samples.pixels(33)}, items=33)
    yield ask(PICTURES, "log-likelihood", "include-terms", {"rows": samples.pixels(2), "include_terms": True}, items=2)


def _picture_draws() -> Iterator[HttpRequest]:
    latents = samples.latents(7, 784)
    yield from inputs.media(PICTURES, "decode", "latents", latents[:2], (JSON, NPY, CSV), {"seed": 2})
    yield from inputs.media(PICTURES, "decode", "latents", latents[:1], (PNG,), {})
    yield from inputs.sizes(PICTURES, "decode", "latents", latents, (7,), {})
    yield ask(PICTURES, "decode", "two-png-refused", {"latents": latents[:2]}, accept=PNG, items=2)
    for count in (1, 2, 7):
        fields = {"n": count, "seed": 3, "temperature": 0.7}
        yield ask(PICTURES, "sample", f"n-{count}", fields, items=count)
    for accept, kind in ((NPY, "npy"), (CSV, "csv"), (PNG, "png")):
        yield ask(PICTURES, "sample", f"one-{kind}", {"seed": 4}, accept=accept)
    yield ask(PICTURES, "sample", "seeds", {"seeds": [3, 1]}, items=2)
    ends = {"images": samples.base64_png(samples.fashion(2))}
    for path in ("slerp", "lerp"):
        for accept, kind in ((JSON, "json"), (NPY, "npy"), (CSV, "csv"), (PNG, "png"), (APNG, "apng")):
            fields = {**ends, "path": path, "frames": 3, "seed": 1}
            yield ask(PICTURES, "interpolate", f"{path}-{kind}", fields, accept=accept, items=3)
