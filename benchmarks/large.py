"""One large request at a time through HTTP, by media type, against its raw graphs in the same run."""

import base64
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import uvloop
from numpy.typing import NDArray

from benchmarks.load import Figures, closed_loop
from benchmarks.options import Options, spread
from benchmarks.raw import seconds_per_item
from benchmarks.server import Server, running

DATA = Path(__file__).parent.parent / "tests" / "data"
ROWS, IMAGES = 4096, 256
JSON, NPY, CSV = "application/json", "application/x-npy", "text/csv"
BATCHES = (32, 256, 1024)


@dataclass(frozen=True)
class Case:
    """A request of `items` items, each of which costs one evaluation of each of `graphs`."""

    model: str
    path: str
    body: bytes
    content_type: str
    accept: str
    items: int
    graphs: tuple[str, ...]

    @property
    def title(self) -> str:
        names = {JSON: "JSON", NPY: "NPY", CSV: "CSV"}
        return f"{self.model} {self.path.partition('?')[0][4:]}, {names[self.content_type]} to {names[self.accept]}"


def cases() -> list[Case]:
    """Real rows and pictures, in every way they travel."""
    rows = np.resize(np.load(DATA / "shuttle_500.npz")["rows"], (ROWS, 9)).astype(np.float32)
    pictures = np.load(DATA / "fashion_test_500.npz")["images"][:IMAGES]
    bodies = {
        NPY: npy(rows),
        CSV: _csv(rows),
        JSON: json.dumps({"model": "flow-shuttle", "rows": rows.tolist()}).encode(),
    }
    score, anomaly = "/v1/flow/log-likelihood", "/v1/vae/anomaly"
    images = json.dumps({"model": "vae-fashion", "images": [_png(one) for one in pictures]}).encode()
    flat = npy((pictures.reshape(IMAGES, -1) / 255).astype(np.float32))
    gan = json.dumps({"model": "gan-fashion", "n": IMAGES, "seed": 1, "class": "bag"}).encode()
    return [
        *(_case("flow-shuttle", score, body, kind, kind, ROWS, "forward", "inverse") for kind, body in bodies.items()),
        *(_case("vae-shuttle", anomaly, bodies[NPY], NPY, kind, ROWS, "elbo") for kind in (NPY, CSV, JSON)),
        _case("gan-fashion", "/v1/gan/sample", gan, JSON, NPY, IMAGES, "map", "synthesise"),
        _case("vae-fashion", anomaly, flat, NPY, NPY, IMAGES, "elbo"),
        _case("vae-fashion", anomaly, images, JSON, JSON, IMAGES, "elbo"),
    ]


def _case(model: str, path: str, body: bytes, content_type: str, accept: str, items: int, *graphs: str) -> Case:
    named = path if content_type == JSON else f"{path}?model={model}"
    return Case(model, named, body, content_type, accept, items, graphs)


def measure(server: Server, case: Case, seconds: float) -> Figures:
    headers: Mapping[str, Any] = {"content-type": case.content_type, "accept": case.accept}
    return uvloop.run(closed_loop(server.url + case.path, case.body, 1, seconds, headers))


def main(options: Options) -> None:
    print("| one request at a time | items | items/s | raw graphs, items/s at their best batch | ratio |")
    print("|---|---|---|---|---|")
    with running(intra_op_threads=str(options.threads)) as server:
        for case in cases():
            measure(server, case, 0.5)
            pairs = [_pair(server, case, options) for _ in range(options.repeats)]
            rates, raws = [rate for rate, _ in pairs], [raw for _, raw in pairs]
            ratios = spread([rate / raw for rate, raw in pairs], 2)
            print(f"| {case.title} | {case.items} | {spread(rates)} | {spread(raws)} | {ratios} |", flush=True)


def _pair(server: Server, case: Case, options: Options) -> tuple[float, float]:
    """Items per second through the service, and of the raw graphs right after it."""
    rate = measure(server, case, options.seconds).requests_per_s * case.items
    raw = sum(seconds_per_item(case.model, name, options.threads, options.seconds / 3, BATCHES) for name in case.graphs)
    return rate, 1 / raw


def npy(rows: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, rows, allow_pickle=False)
    return buffer.getvalue()


def _csv(rows: NDArray[Any]) -> bytes:
    return "\n".join(",".join(f"{value:g}" for value in row) for row in rows.tolist()).encode()


def _png(pixels: NDArray[Any]) -> str:
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()
