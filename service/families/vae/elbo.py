"""The evidence lower bound in its parts, and the importance-weighted bound of k draws."""

import math
from collections.abc import Sequence

import numpy as np

from fivefold.vae import ELBO, VaeElboRequest
from model_store.manifest import VaeParams
from model_store.store import Model
from service.arrays import Array, Arrays
from service.families.inputs import input_rows
from service.families.pipeline import Fields, Pipeline, Refusal, params_of
from service.jobs import Event, Row


class Elbo(Pipeline[VaeElboRequest]):
    """ELBO = E[log p(x | z)] - KL(q(z | x) || p(z)), and log mean w."""

    operation = ELBO
    session_kind = "bound"

    def prepare(self, request: VaeElboRequest, model: Model) -> list[Row | Refusal]:
        options = {"samples": request.samples, "terms": False}
        return input_rows(request, params_of(model, VaeParams).event_shape, options, work=request.samples)

    def render(self, request: VaeElboRequest, items: Sequence[Event], model: Model) -> list[Fields]:
        entries = math.prod(params_of(model, VaeParams).event_shape)
        return [_parts(item.arrays, entries) | importance_weighted(item.arrays["log_weight"]) for item in items]


def importance_weighted(log_weights: Array) -> Fields:
    """IWAE-k of log-weights [k] (Burda et al. 2016, arXiv:1509.00519, eq. 8), its standard error, and the ESS.

    With ESS = (sum w)^2 / sum w^2, the delta method gives se(log mean w) = sd(w) / (sqrt(k) mean w)
    = sqrt((k / ESS - 1) / (k - 1)).
    """
    values = log_weights.astype(np.float64)
    count, largest = len(values), float(values.max())
    weights = np.exp(values - largest)
    size = float(weights.sum() ** 2 / (weights**2).sum())
    fields = {"iwae_nats": largest + math.log(weights.mean()), "effective_sample_size": size}
    if count == 1:
        return fields
    return fields | {"iwae_standard_error_nats": math.sqrt(max(0.0, count / size - 1) / (count - 1))}


def _parts(arrays: Arrays, entries: int) -> Fields:
    log_likelihood_nats, kl_nats = float(arrays["log_likelihood"].mean(dtype=np.float64)), float(arrays["kl"])
    elbo_nats = log_likelihood_nats - kl_nats
    return {
        "elbo_nats": elbo_nats,
        "log_likelihood_nats": log_likelihood_nats,
        "kl_nats": kl_nats,
        "bits_per_dim": -elbo_nats / (entries * math.log(2)),
    }
