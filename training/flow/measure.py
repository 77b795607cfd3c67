"""Measures an exported flow: likelihoods, round trips and samples."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.export import Exported, answer

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
        scored = answer(self.forward, {"x": x, "noise": noise})
        back = answer(self.inverse, {"z": scored["z"]})["dequantised"]
        error = np.abs(back - scored["dequantised"]).reshape(len(x), -1)
        return Measured(scored["log_prob"], error.max(1), error.mean(1))

    def sample(self, count: int, seed: int = NOISE_SEED) -> Floats:
        """Rows [count, *event] as on the wire, from standard normal latents."""
        event = tuple(int(size) for size in self.inverse.spec.inputs[0].shape[1:])
        z = np.random.default_rng(seed).standard_normal((count, *event), dtype=np.float32)
        return answer(self.inverse, {"z": z})["x"]
