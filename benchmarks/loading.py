"""A model is loaded while images are sampled: how much longer than usual the steps of a running row take meanwhile."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import httpx

from benchmarks.options import Options
from benchmarks.server import Server, running

SAMPLED, LOADED = "diffusion-fashion", ("flow-fashion", "transformer-english", "vae-fashion")
SAMPLE = {"model": SAMPLED, "seed": 1, "steps": 1000, "solver": "ddim"}
POLL_SECONDS = 0.01


@dataclass
class Steps:
    """When the steps of one row after the other arrived, until it is told to stop."""

    url: str
    times: list[float] = field(default_factory=list)
    stopped: bool = False

    def follow(self) -> None:
        while not self.stopped:
            body = json.dumps(SAMPLE).encode()
            headers = {"accept": "text/event-stream", "content-type": "application/json"}
            with httpx.stream("POST", f"{self.url}/v1/diffusion/sample", content=body, headers=headers) as answer:
                for line in answer.iter_lines():
                    if line == "event: chunk":
                        self.times.append(time.perf_counter())
                    if self.stopped:
                        return

    def longest_ms(self, since: float, until: float) -> float:
        """The longest time between two steps that ended in this period."""
        ends = [one for one in self.times if since <= one <= until]
        return 1e3 * max(later - earlier for earlier, later in pairwise(ends))


def main(options: Options) -> None:
    with running(models=json.dumps([SAMPLED]), intra_op_threads="1") as server, _followed(server) as steps:
        print("| model | loaded in s | longest step ms, loading | as long before | longer by ms |")
        print("|---|---|---|---|---|")
        for model in LOADED:
            for _ in range(options.repeats):
                began, ended = _load(server, model)
                during = steps.longest_ms(began, ended)
                before = steps.longest_ms(2 * began - ended, began)
                _order(server, model, "unload")
                _wait(server, model, served=False)
                cells = f"{ended - began:.2f} | {during:.1f} | {before:.1f} | {during - before:.1f}"
                print(f"| {model} | {cells} |", flush=True)


@contextmanager
def _followed(server: Server) -> Iterator[Steps]:
    steps = Steps(server.url)
    thread = threading.Thread(target=steps.follow)
    thread.start()
    try:
        while len(steps.times) < 500:
            time.sleep(POLL_SECONDS)
        yield steps
    finally:
        steps.stopped = True
        thread.join()


def _load(server: Server, model: str) -> tuple[float, float]:
    """When the load was ordered and when the model was served, after as long a time without a load."""
    time.sleep(2.0)
    began = time.perf_counter()
    _order(server, model, "load")
    _wait(server, model, served=True)
    return began, time.perf_counter()


def _order(server: Server, model: str, action: str) -> None:
    httpx.post(f"{server.url}/v1/admin/models/{model}/{action}").raise_for_status()


def _wait(server: Server, model: str, *, served: bool) -> None:
    while any(one["name"] == model for one in httpx.get(f"{server.url}/v1/models").json()["models"]) != served:
        time.sleep(POLL_SECONDS)
