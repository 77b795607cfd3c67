"""Requests of the diffusion family, few steps each."""

from collections.abc import Iterator, Mapping
from typing import Any

from tests.answers import samples
from tests.answers.picture_requests import bad_pictures
from tests.answers.wire import EVENTS, JSON, NPY, PNG, SHORT, HttpRequest, ask, send

MODEL = "diffusion-fashion"
SOLVERS = ("heun", "dpmpp_2m", "ddim")


def diffusion_requests() -> Iterator[HttpRequest]:
    yield from _samples()
    yield from _restorations()
    yield from _faults()


def _samples() -> Iterator[HttpRequest]:
    for solver in SOLVERS:
        for steps in (1, 2, 5):
            fields = {"solver": solver, "steps": steps, "seed": 3}
            yield ask(MODEL, "sample", f"{solver}-{steps}", fields)
        for guidance in (0, 1, 2.5):
            fields = {"solver": solver, "steps": 3, "seed": 4, "class": "bag", "guidance": guidance}
            yield ask(MODEL, "sample", f"{solver}-guidance-{guidance}", fields)
        streamed = {"solver": solver, "steps": 4, "seed": 5, "n": 2, "class": "coat", "guidance": 2}
        yield ask(MODEL, "sample", f"{solver}-events", streamed, accept=EVENTS, items=2)
    for count in (2, 7, 33):
        fields = {"n": count, "steps": 2, "seed": 6, "solver": "ddim"}
        yield ask(MODEL, "sample", f"n-{count}", fields, items=count)
    for accept in (NPY, PNG):
        yield ask(MODEL, "sample", f"one-{SHORT[accept]}", {"steps": 2, "seed": 7}, accept=accept)
    yield ask(MODEL, "sample", "seeds", {"seeds": [8, 1], "steps": 2}, items=2)
    yield ask(MODEL, "sample", "seeds-events", {"seeds": [8, 1, 8], "steps": 3}, accept=EVENTS, items=3)
    yield ask(MODEL, "sample", "defaults", {"seed": 9})


def _restorations() -> Iterator[HttpRequest]:
    mask = samples.base64_png([samples.half_mask()])
    whole = samples.base64_png(samples.fashion(2))
    tasks: dict[str, dict[str, Any]] = {
        "denoise-mmse": {"task": "denoise", "images": whole, "sigma": 0.2},
        "denoise-estimated": {"task": "denoise", "images": whole},
        "denoise-sample": {"task": "denoise", "images": whole, "mode": "sample", "sigma": 0.3, "steps": 3},
        "super-resolve-2": _upscaling(2),
        "super-resolve-4": _upscaling(4),
        "inpaint": {"task": "inpaint", "images": whole, "masks": mask, "steps": 3},
        "inpaint-masks": {"task": "inpaint", "images": whole, "masks": mask * 2, "steps": 2},
    }
    for name, fields in tasks.items():
        for accept in (JSON, NPY, EVENTS):
            given = {**fields, "seed": 2}
            yield ask(MODEL, "enhance", f"{name}-{SHORT[accept]}", given, accept=accept, items=2)
    yield from _steered(tasks)
    yield from _bodies()


def _upscaling(factor: int) -> dict[str, Any]:
    pngs = samples.base64_png(samples.small(2, factor))
    return {"task": "super_resolve", "images": pngs, "factor": factor, "steps": 3}


def _steered(tasks: Mapping[str, dict[str, Any]]) -> Iterator[HttpRequest]:
    for name in ("denoise-sample", "super-resolve-2", "inpaint"):
        for solver in SOLVERS:
            given = {**tasks[name], "solver": solver, "class": "bag", "guidance": 2, "seed": 5}
            yield ask(MODEL, "enhance", f"{name}-{solver}-guided", given, items=2)
    for name in ("super-resolve-2", "inpaint"):
        given = {**tasks[name], "num_samples": 3, "steps": 2, "seed": 6}
        for accept in (JSON, EVENTS):
            yield ask(MODEL, "enhance", f"{name}-draws-{SHORT[accept]}", given, accept=accept, items=2)
    yield ask(MODEL, "enhance", "seeds", {**tasks["inpaint"], "seeds": [4, 9]}, items=2)


def _bodies() -> Iterator[HttpRequest]:
    given = {"task": "denoise", "sigma": 0.1, "seed": 3}
    yield ask(MODEL, "enhance", "rows-33", {**given, "rows": samples.pixels(33)}, items=33)
    yield send(MODEL, "enhance", "npy", samples.npy(samples.pixels(2)), given, items=2)
    for accept in (JSON, PNG, EVENTS):
        body = PNG, samples.png(samples.fashion(1)[0])
        yield send(MODEL, "enhance", f"png-{SHORT[accept]}", body, given, accept=accept)


def _faults() -> Iterator[HttpRequest]:
    yield from bad_pictures(MODEL, "enhance", {"task": "denoise", "sigma": 0.1, "seed": 4})
    whole = samples.base64_png(samples.fashion(1))
    skipped = {"task": "denoise", "mode": "sample", "steps": 2, "seed": 1, "on_error": "skip"}
    hole = [samples.pixels(1)[0], [], samples.pixels(2)[1]]
    yield ask(MODEL, "enhance", "skip-events", {**skipped, "rows": hole}, accept=EVENTS, items=3)
    yield ask(MODEL, "enhance", "sigma-of-inpaint", {"task": "inpaint", "images": whole, "sigma": 0.1, "seed": 1})
    yield ask(MODEL, "enhance", "no-mask", {"task": "inpaint", "images": whole, "seed": 1})
    yield ask(MODEL, "enhance", "draws-of-denoise", {"task": "denoise", "images": whole, "num_samples": 2, "seed": 1})
    yield ask(MODEL, "sample", "class-unknown", {"class": "hat", "seed": 1})
    yield ask(MODEL, "sample", "solver-unknown", {"solver": "euler", "seed": 1})
