"""Measures an exported autoencoder: the bound and its parts, IWAE, samples, and what its scores notice."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp
from sklearn.metrics import roc_auc_score

from training.export import Exported, answer

NOISE_SEED = 0
ACTIVE_VARIANCE = 0.01  # of a latent's posterior mean over the data: Burda et al. 2016 (arXiv:1509.00519), section 5.2

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Measured:
    """Row by row [N], in nats: the parts of the bound with one draw of the noise, and the weight of that draw."""

    log_likelihood: Floats
    kl: Floats
    log_weight: Floats

    def __getitem__(self, rows: NDArray[np.bool_]) -> "Measured":
        return Measured(self.log_likelihood[rows], self.kl[rows], self.log_weight[rows])

    @property
    def elbo(self) -> Floats:
        return self.log_likelihood - self.kl

    def anomaly(self) -> dict[str, Floats]:
        """Scores that are larger for stranger rows, by name."""
        return {"elbo": -self.elbo, "reconstruction": -self.log_likelihood, "kl": self.kl}

    def calibration(self) -> dict[str, Floats]:
        """What calibration.npz holds of the held-out rows: each score sorted, in nats."""
        scores = {"elbo": self.elbo, "reconstruction": self.log_likelihood, "kl": self.kl}
        return {f"{name}_held_out": np.sort(score) for name, score in scores.items()}


@dataclass(frozen=True)
class ExportedVae:
    """The three graphs of a VAE."""

    encode: Exported
    elbo: Exported
    decode: Exported

    def by_name(self) -> dict[str, Exported]:
        return {"encode": self.encode, "elbo": self.elbo, "decode": self.decode}

    def measure(self, x: Floats, seed: int = NOISE_SEED) -> Measured:
        """Score rows [N, *event] as on the wire."""
        noise = _normal(seed, len(x), self._latent_size)
        found = answer(self.elbo, {"x": x, "noise": noise})
        return Measured(found["log_likelihood"], found["kl"], found["log_weight"])

    def iwae_nats(self, x: Floats, draws: int) -> Floats:
        """The bound of Burda et al. 2016 (arXiv:1509.00519, eq. 8) on log p(x), with `draws` draws: [N]."""
        weights = np.stack([self.measure(x, seed).log_weight for seed in range(draws)]).astype(np.float64)
        nats: Floats = (logsumexp(weights, axis=0) - np.log(draws)).astype(np.float32)
        return nats

    def active_latents(self, x: Floats) -> int:
        """How many latents tell something about x."""
        return int((answer(self.encode, {"x": x})["mean"].var(axis=0) > ACTIVE_VARIANCE).sum())

    def sample(self, count: int, seed: int = NOISE_SEED) -> tuple[Floats, Floats]:
        """Expected values and draws, both [count, *event], of standard normal latents."""
        z = _normal(seed, count, self._latent_size)
        event = tuple(int(size) for size in self.decode.spec.inputs[1].shape[1:])
        noise = np.random.default_rng(seed + 1).random((count, *event), dtype=np.float32)
        found = answer(self.decode, {"z": z, "noise": noise})
        return found["mean"], found["sample"]

    def reconstruct(self, x: Floats) -> Floats:
        """The expected values of the posterior mean: [N, *event]."""
        z = answer(self.encode, {"x": x})["mean"]
        return answer(self.decode, {"z": z, "noise": np.full_like(x, 0.5)})["mean"]

    @property
    def _latent_size(self) -> int:
        return int(self.decode.spec.inputs[0].shape[1])


def likelihood_metrics(tested: Measured, entries: int) -> dict[str, float]:
    """The bound and its two parts over test rows, in nats and in bits per dimension."""
    parts = {"elbo": tested.elbo, "reconstruction": tested.log_likelihood, "kl": tested.kl}
    nats = {name: float(part.mean(dtype=np.float64)) for name, part in parts.items()}
    sign = {"elbo": -1, "reconstruction": -1, "kl": 1}
    return {
        **{f"{name}_test_nats": mean for name, mean in nats.items()},
        **{f"{name}_test_bits_per_dim": sign[name] * mean / entries / np.log(2) for name, mean in nats.items()},
    }


def detection_metrics(normal: Measured, strangers: Mapping[str, Measured]) -> dict[str, float]:
    """AUROC of each score, between normal rows and those of each set of strangers."""
    return {
        f"auroc_{name}_{score}": float(
            roc_auc_score(
                np.repeat((0, 1), (len(normal.kl), len(measured.kl))),
                np.concatenate((normal.anomaly()[score], measured.anomaly()[score])),
            )
        )
        for name, measured in strangers.items()
        for score in ("elbo", "reconstruction", "kl")
    }


def _normal(seed: int, *shape: int) -> Floats:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
