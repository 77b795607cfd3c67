"""Measures an exported flow: likelihoods, round trips, samples, and the pictures of the cards."""

import io
from dataclasses import dataclass

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from training.checks import Arrays, runner
from training.export import Exported

CHUNK = 250
NOISE_SEED = 0

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Measured:
    """Row by row: log_prob_nats [N], and the largest and the mean |x - inverse(forward(x))| over entries [N]."""

    log_prob_nats: Floats
    round_trip_max: Floats
    round_trip_mean: Floats

    def __getitem__(self, rows: NDArray[np.bool_]) -> "Measured":
        return Measured(self.log_prob_nats[rows], self.round_trip_max[rows], self.round_trip_mean[rows])


@dataclass(frozen=True)
class ExportedFlow:
    """Both graphs of a flow, and the names of its log-determinants."""

    layers: tuple[str, ...]
    forward: Exported
    inverse: Exported

    def by_name(self) -> dict[str, Exported]:
        return {"forward": self.forward, "inverse": self.inverse}

    def measure(self, x: Floats) -> Measured:
        """Score rows [N, *event] as on the wire, with one fixed draw of the dequantisation noise each."""
        noise = np.random.default_rng(NOISE_SEED).random(x.shape, dtype=np.float32)
        scored = _run(self.forward, {"x": x, "noise": noise})
        back = _run(self.inverse, {"z": scored["z"]})["dequantised"]
        error = np.abs(back - scored["dequantised"]).reshape(len(x), -1)
        return Measured(scored["log_prob"], error.max(1), error.mean(1))

    def sample(self, count: int, seed: int = NOISE_SEED) -> Floats:
        """Rows [count, *event] as on the wire, from standard normal latents."""
        event = tuple(int(size) for size in self.inverse.spec.inputs[0].shape[1:])
        z = np.random.default_rng(seed).standard_normal((count, *event), dtype=np.float32)
        return _run(self.inverse, {"z": z})["x"]


def _run(graph: Exported, inputs: Arrays) -> dict[str, Floats]:
    run, count = runner(graph.data, graph.spec), len(next(iter(inputs.values())))
    chunks = [run({name: a[start : start + CHUNK] for name, a in inputs.items()}) for start in range(0, count, CHUNK)]
    return {name: np.concatenate([chunk[name] for chunk in chunks]).astype(np.float32) for name in chunks[0]}


def compare_columns(data: Floats, samples: Floats, columns: tuple[str, ...]) -> bytes:
    """A PNG of each column's histogram, data against samples, within the central 99 % of the data."""
    figure = Figure(figsize=(9, 7), layout="constrained")
    for index, axes in enumerate(figure.subplots(3, -(-len(columns) // 3)).flat):
        low, high = np.quantile(data[:, index], (0.005, 0.995))
        bins = np.linspace(low - 1, high + 1, 50).tolist()
        axes.hist(data[:, index], bins, density=True, alpha=0.5, label="held-out data")
        axes.hist(samples[:, index], bins, density=True, histtype="step", label="samples")
        axes.set(title=columns[index], yscale="log")
    figure.axes[0].legend()
    FigureCanvasAgg(figure).print_png(buffer := io.BytesIO())  # type: ignore[no-untyped-call]
    return buffer.getvalue()
