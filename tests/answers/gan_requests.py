"""Requests of the GAN family."""

from collections.abc import Iterator

from tests.answers import inputs, samples
from tests.answers.picture_requests import bad_pictures, pictures
from tests.answers.wire import APNG, JSON, NPY, PNG, SHORT, HttpRequest, ask

MODELS = ("gan-fashion", "gan-fashion-minimax")


def gan_requests() -> Iterator[HttpRequest]:
    for model in MODELS:
        yield from _samples(model)
        yield from _walks(model)
        yield from _scores(model)
    yield from bad_pictures(MODELS[0], "score", {"class": "bag"})
    yield from inputs.bad_rows(MODELS[0], "sample", "latents", samples.latents(7, 64), {"class": "bag", "seed": 1})


def _samples(model: str) -> Iterator[HttpRequest]:
    latents = samples.latents(33, 64)
    for count in (1, 2, 7, 33):
        yield ask(model, "sample", f"n-{count}", {"n": count, "seed": 3}, items=count)
    for truncation in (0, 0.5):
        fields = {"n": 2, "seed": 3, "class": "bag", "truncation": truncation}
        yield ask(model, "sample", f"truncation-{truncation}", fields, items=2)
    yield ask(model, "sample", "seeds", {"seeds": [9, 2], "class": "coat"}, items=2)
    yield from inputs.media(model, "sample", "latents", latents[:2], (JSON, NPY), {"seed": 4})
    yield from inputs.media(model, "sample", "latents", latents[:1], (PNG,), {"class": "bag", "seed": 4})
    yield ask(model, "sample", "latents-33", {"latents": latents, "seed": 5}, items=33)
    yield ask(model, "sample", "two-png-refused", {"n": 2, "seed": 3}, accept=PNG, items=2)
    yield ask(model, "sample", "class-unknown", {"class": "hat", "seed": 3})
    yield ask(model, "sample", "latents-and-n", {"latents": latents[:2], "n": 2, "seed": 3}, items=2)


def _walks(model: str) -> Iterator[HttpRequest]:
    for space in ("z", "w"):
        for accept in (JSON, NPY, PNG, APNG):
            fields = {"space": space, "frames": 3, "seeds": [3, 8], "class": "dress"}
            yield ask(model, "interpolate", f"{space}-{SHORT[accept]}", fields, accept=accept, items=3)
        given = {"space": space, "frames": 4, "truncation": 0.7, "seed": 1}
        yield from inputs.media(
            model, "interpolate", "latents", samples.latents(2, 64), (JSON,), given, prefix=f"{space}-"
        )
    yield ask(model, "interpolate", "defaults", {}, items=8)
    yield ask(model, "interpolate", "frames-33", {"frames": 33, "seed": 7}, items=33)
    yield ask(model, "interpolate", "one-end", {"latents": samples.latents(1, 64)}, items=8)


def _scores(model: str) -> Iterator[HttpRequest]:
    yield from pictures(model, "score", {})
    pngs = samples.base64_png(samples.fashion(2))
    yield ask(model, "score", "class", {"images": pngs, "class": "ankle-boot"}, items=2)
    yield ask(model, "score", "rows-33", {"rows": samples.pixels(33), "class": "bag"}, items=33)
