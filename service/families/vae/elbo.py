"""The evidence lower bound in its parts, and the importance-weighted bound of k draws."""

import math

import numpy as np

from fivefold.vae import ELBO, VaeElboRequest
from model_store.manifest import VaeParams
from model_store.store import Model
from service.arrays import Array
from service.families.inputs import input_block
from service.families.pipeline import FieldColumns, Pipeline, Prepared, Results, map_values, params_of
from service.families.session import dense
from service.families.vae.parameters import VaeBound
from service.jobs import Floats


class Elbo(Pipeline[VaeElboRequest]):
    """ELBO = E[log p(x | z)] - KL(q(z | x) || p(z)), and log mean w."""

    operation = ELBO
    kind = VaeBound

    def prepare(self, request: VaeElboRequest, model: Model) -> Prepared:
        shape = params_of(model, VaeParams).event_shape
        return input_block(request, shape, VaeBound(request.samples), work=request.samples)

    def render(self, request: VaeElboRequest, results: Results, model: Model) -> FieldColumns:
        entries = math.prod(params_of(model, VaeParams).event_shape)
        return {**_parts(results, entries), **importance_weighted(dense(results, "log_weight"))}


def importance_weighted(log_weights: Array) -> dict[str, Floats]:
    """IWAE-k of log-weights [n, k] (Burda et al. 2016, arXiv:1509.00519, eq. 8), its standard error, and the ESS.

    With ESS = (sum w)^2 / sum w^2, the delta method gives se(log mean w) = sd(w) / (sqrt(k) mean w)
    = sqrt((k / ESS - 1) / (k - 1)).
    """
    values = log_weights.astype(np.float64)
    count, largest = values.shape[1], values.max(axis=1)
    weights = np.exp(values - largest[:, None])
    size = map_values(_square, weights.sum(axis=1)) / (weights**2).sum(axis=1)
    fields = {"iwae_nats": largest + map_values(math.log, weights.mean(axis=1)), "effective_sample_size": size}
    if count == 1:
        return fields
    return fields | {"iwae_standard_error_nats": np.sqrt(np.maximum(0.0, count / size - 1) / (count - 1))}


def _parts(results: Results, entries: int) -> dict[str, Floats]:
    log_likelihood_nats = dense(results, "log_likelihood").astype(np.float64).mean(axis=1)
    kl_nats = dense(results, "kl").astype(np.float64)
    elbo_nats = log_likelihood_nats - kl_nats
    return {
        "elbo_nats": elbo_nats,
        "log_likelihood_nats": log_likelihood_nats,
        "kl_nats": kl_nats,
        "bits_per_dim": -elbo_nats / (entries * math.log(2)),
    }


def _square(value: float) -> float:
    return value**2
