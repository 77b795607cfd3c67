"""Each family's main operation through HTTP, against its raw graph in the same run."""

import asyncio
import json
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort

from benchmarks.load import Figures, closed_loop
from benchmarks.options import Options
from benchmarks.server import Server, running
from model_store.golden import unpack
from model_store.store import Store

SHUTTLE = [37.0, 0.0, 92.0, 0.0, 24.0, 3.0, 55.0, 69.0, 14.0]
STEPS, TOKENS = 8, 32


@dataclass(frozen=True)
class Case:
    """One operation; a request of it costs so many evaluations of each of `graphs`."""

    title: str
    path: str
    body: dict[str, Any]
    graphs: Mapping[str, int]

    @property
    def model(self) -> str:
        return str(self.body["model"])


CASES = (
    Case(
        "gan/sample",
        "/v1/gan/sample",
        {"model": "gan-fashion", "seed": 1, "class": "bag"},
        {"map": 1, "synthesise": 1},
    ),
    Case(
        f"diffusion/sample, {STEPS} steps",
        "/v1/diffusion/sample",
        {"model": "diffusion-fashion", "seed": 1, "steps": STEPS, "solver": "ddim"},
        {"denoise": STEPS},
    ),
    Case(
        "flow/log-likelihood",
        "/v1/flow/log-likelihood",
        {"model": "flow-shuttle", "rows": [SHUTTLE]},
        {"forward": 1, "inverse": 1},
    ),
    Case(
        f"transformer/generate, {TOKENS} tokens",
        "/v1/transformer/generate",
        {"model": "transformer-english", "seed": 1, "prompt": "The people", "max_tokens": TOKENS},
        {"prefill": 1, "decode": TOKENS - 1},
    ),
    Case("vae/anomaly", "/v1/vae/anomaly", {"model": "vae-fashion", "rows": [[0.5] * 784]}, {"elbo": 1}),
)


def raw_requests_per_s(case: Case, threads: int, seconds: float) -> float:
    """What the graphs alone reach at their best batch of 1, 8 and 32, in requests of this case."""
    model = Store().resolve(case.model)
    seconds_per_request = 0.0
    for name, evaluations in case.graphs.items():
        run = _runner(model.graph(name), unpack(model, name).inputs, threads)
        fixed = isinstance(model.manifest.graphs[name].inputs[0].shape[0], int)
        sizes = (1,) if fixed else (1, 8, 32)
        seconds_per_request += evaluations * min(_seconds_per_call(run(size), seconds) / size for size in sizes)
    return 1 / seconds_per_request


def _runner(data: bytes, inputs: Any, threads: int) -> Callable[[int], Callable[[], Any]]:
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])

    def batch_of(size: int) -> Callable[[], Any]:
        batch = {name: np.repeat(array[:1], size, 0) for name, array in inputs.items()}
        return lambda: session.run(None, batch)

    return batch_of


def _seconds_per_call(run: Callable[[], Any], seconds: float) -> float:
    run()
    times = []
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline:
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def measure(server: Server, case: Case, concurrency: int, seconds: float) -> Figures:
    body = json.dumps(case.body).encode()
    return asyncio.run(closed_loop(server.url + case.path, body, concurrency, seconds))


def main(options: Options) -> None:
    with running(intra_op_threads=str(options.threads)) as server:
        print(f"start to ready {server.seconds_to_ready:.1f} s, resident {server.resident_mb():.0f} MB\n")
        print("| operation | clients | requests/s (spread) | p50 ms | p99 ms | of the raw graph's best |")
        print("|---|---|---|---|---|---|")
        for case in CASES:
            raw = raw_requests_per_s(case, options.threads, options.seconds / 3)
            for concurrency in (1, 8, 32, 64):
                runs = [measure(server, case, concurrency, options.seconds) for _ in range(options.repeats)]
                print(_line(case, concurrency, runs, raw), flush=True)
        print(f"\nresident after the load {server.resident_mb():.0f} MB")


def _line(case: Case, concurrency: int, runs: list[Figures], raw: float) -> str:
    rates = sorted(run.requests_per_s for run in runs)
    middle = sorted(runs, key=lambda run: run.requests_per_s)[len(runs) // 2]
    spread = f"{rates[0]:.0f}-{rates[-1]:.0f}"
    cells = (f"{middle.requests_per_s:.0f} ({spread})", f"{middle.p50_ms:.1f}", f"{middle.p99_ms:.1f}")
    return f"| {case.title} | {concurrency} | {' | '.join(cells)} | {middle.requests_per_s / raw:.0%} |"
