"""Each family's main operation through HTTP, against its raw graph in the same run."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import uvloop

from benchmarks.load import Figures, closed_loop
from benchmarks.options import Options, spread
from benchmarks.raw import seconds_per_item
from benchmarks.server import Server, running

SHUTTLE = [37.0, 0.0, 92.0, 0.0, 24.0, 3.0, 55.0, 69.0, 14.0]
STEPS, TOKENS = 8, 32
BATCHES = (1, 8, 32, 64)


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
    """What the graphs alone reach at their best batch, in requests of this case."""
    per_request = (
        evaluations * seconds_per_item(case.model, name, threads, seconds, BATCHES)
        for name, evaluations in case.graphs.items()
    )
    return 1 / sum(per_request)


def measure(server: Server, case: Case, concurrency: int, seconds: float) -> Figures:
    body = json.dumps(case.body).encode()
    return uvloop.run(closed_loop(server.url + case.path, body, concurrency, seconds))


def main(options: Options) -> None:
    with running(intra_op_threads=str(options.threads)) as server:
        print(f"start to ready {server.seconds_to_ready:.1f} s, resident {server.resident_mb():.0f} MB\n")
        print("| operation | clients | requests/s | p50 ms | p99 ms | of the raw graphs' best |")
        print("|---|---|---|---|---|---|")
        for case in CASES:
            measure(server, case, 8, options.seconds / 3)
            for concurrency in (1, 8, 32, 64):
                pairs = [_pair(server, case, concurrency, options) for _ in range(options.repeats)]
                print(_line(case, concurrency, pairs), flush=True)
        print(f"\nresident after the load {server.resident_mb():.0f} MB")


def _pair(server: Server, case: Case, concurrency: int, options: Options) -> tuple[Figures, float]:
    """What the service reaches, and right after it the raw graphs."""
    figures = measure(server, case, concurrency, options.seconds)
    return figures, raw_requests_per_s(case, options.threads, options.seconds / 3)


def _line(case: Case, concurrency: int, pairs: list[tuple[Figures, float]]) -> str:
    runs = sorted((run for run, _ in pairs), key=lambda run: run.requests_per_s)
    middle = runs[len(runs) // 2]
    ratios = spread([run.requests_per_s / raw for run, raw in pairs], 2)
    rates = spread([run.requests_per_s for run in runs])
    return f"| {case.title} | {concurrency} | {rates} | {middle.p50_ms:.1f} | {middle.p99_ms:.1f} | {ratios} |"
