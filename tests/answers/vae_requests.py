"""Requests of the VAE family: a table and pictures."""

from collections.abc import Iterator

from tests.answers import inputs, samples
from tests.answers.picture_requests import bad_pictures, pictures
from tests.answers.wire import CSV, JSON, NPY, PNG, SHORT, HttpRequest, ask

TABLE, PICTURES = "vae-shuttle", "vae-fashion"
SCORING = ("anomaly", "elbo", "encode", "reconstruct")


def vae_requests() -> Iterator[HttpRequest]:
    yield from _table()
    yield from _pictures()
    for model, size in ((TABLE, 8), (PICTURES, 64)):
        yield from _options(model)
        yield from _draws(model, size)


def _table() -> Iterator[HttpRequest]:
    rows = samples.shuttle(600)
    for operation in SCORING:
        yield from inputs.sizes(TABLE, operation, "rows", rows, (1, 33), {})
        yield from inputs.media(TABLE, operation, "rows", rows[:7], (JSON, NPY, CSV), {"seed": 3})
        yield from inputs.seeds(TABLE, operation, "rows", rows[:2])
        yield from inputs.bad_rows(TABLE, operation, "rows", rows, {})
        yield from inputs.long_tables(TABLE, operation, "rows", rows, {"seed": 4})
    latents = samples.latents(600, 8)
    yield from inputs.bad_rows(TABLE, "decode", "latents", latents, {})
    yield from inputs.long_tables(TABLE, "decode", "latents", latents, {"seed": 4, "output": "draw"})
    for count in (33, 300, 600):
        fields = {"n": count, "seed": 5, "output": "draw"}
        yield ask(TABLE, "sample", f"n-{count}-draw", fields, items=count)
    yield ask(TABLE, "sample", "png-refused", {"seed": 5}, accept=PNG)


def _pictures() -> Iterator[HttpRequest]:
    for operation in SCORING:
        yield from pictures(PICTURES, operation, {})
        yield from bad_pictures(PICTURES, operation, {})
        yield ask(PICTURES, operation, "rows-33", {"rows": samples.pixels(33)}, items=33)
    picture = {"images": samples.base64_png(samples.fashion(1)), "seed": 3}
    yield ask(PICTURES, "reconstruct", "one-png", picture, accept=PNG)


def _options(model: str) -> Iterator[HttpRequest]:
    rows = samples.shuttle(2) if model == TABLE else samples.pixels(2)
    for score in ("elbo", "reconstruction", "kl"):
        for alpha in (0.01, 0.5):
            fields = {"rows": rows, "score": score, "alpha": alpha, "seed": 2}
            yield ask(model, "anomaly", f"{score}-alpha-{alpha}", fields, items=2)
        terms = {"rows": rows, "score": score, "include_terms": True}
        yield ask(model, "anomaly", f"{score}-terms", terms, items=2)
    yield ask(model, "anomaly", "alpha-1", {"rows": rows, "alpha": 1}, items=2)
    for draws in (1, 3, 64):
        fields = {"rows": rows, "samples": draws, "seed": 8}
        for accept in (JSON, CSV):
            yield ask(model, "elbo", f"samples-{draws}-{SHORT[accept]}", fields, accept=accept, items=2)
    for output in ("mean", "draw"):
        fields = {"rows": rows, "output": output, "seed": 8}
        yield ask(model, "reconstruct", output, fields, items=2)


def _draws(model: str, size: int) -> Iterator[HttpRequest]:
    latents = samples.latents(7, size)
    for output in ("mean", "draw"):
        given = {"output": output, "seed": 6}
        yield from inputs.media(model, "decode", "latents", latents[:2], (JSON, NPY, CSV), given, prefix=f"{output}-")
        yield ask(model, "decode", f"{output}-png", {"latents": latents[:1], **given}, accept=PNG)
        for count in (1, 2, 7):
            yield ask(model, "sample", f"{output}-{count}", {"n": count, **given}, items=count)
        for accept in (NPY, CSV, PNG):
            yield ask(model, "sample", f"{output}-one-{SHORT[accept]}", given, accept=accept)
        for temperature in (0, 0.7):
            fields = {"n": 2, "temperature": temperature, **given}
            yield ask(model, "sample", f"{output}-temperature-{temperature}", fields, items=2)
    yield from inputs.seeds(model, "decode", "latents", latents[:2])
    yield ask(model, "sample", "seeds", {"seeds": [5, 1], "output": "draw"}, items=2)
