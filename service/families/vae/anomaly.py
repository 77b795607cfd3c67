"""How unlike the training data an item is: a score, its conformal p-value, and where."""

import math
from collections.abc import Callable, Mapping

import numpy as np

from fivefold.vae import ANOMALY, Score, VaeAnomalyRequest
from model_store.manifest import VaeParams
from model_store.store import Model
from service.arrays import Array
from service.families.inputs import input_block
from service.families.pipeline import FieldColumns, Pipeline, Prepared, Results, params_of
from service.families.session import dense
from service.families.vae.conformal import Conformal
from service.families.vae.parameters import VaeBound
from service.jobs import Floats


def _log_likelihood(results: Results) -> Floats:
    """Of the first draw."""
    return dense(results, "log_likelihood")[:, 0].astype(np.float64)


def _kl(results: Results) -> Floats:
    return dense(results, "kl").astype(np.float64)


QUANTITIES: Mapping[Score, Callable[[Results], Floats]] = {
    "elbo": lambda results: _log_likelihood(results) - _kl(results),
    "reconstruction": _log_likelihood,
    "kl": _kl,
}
"""What a score is made of, in nats of one draw; the calibration holds the same of held-out data, ascending."""
SIGNS: Mapping[Score, int] = {"elbo": -1, "reconstruction": -1, "kl": 1}
"""score = sign * quantity: higher is stranger."""


class Anomaly(Pipeline[VaeAnomalyRequest]):
    """A score against the held-out scores of normal data."""

    operation = ANOMALY
    kind = VaeBound

    def prepare(self, request: VaeAnomalyRequest, model: Model) -> Prepared:
        shape = params_of(model, VaeParams).event_shape
        _conformal(request, model).threshold(request.alpha)  # an alpha that nothing can reach is refused here
        return input_block(request, shape, VaeBound(terms=request.include_terms or len(shape) == 3))

    def render(self, request: VaeAnomalyRequest, results: Results, model: Model) -> FieldColumns:
        conformal, levels = _conformal(request, model), params_of(model, VaeParams).levels
        score_nats = SIGNS[request.score] * QUANTITIES[request.score](results)
        threshold_nats = conformal.threshold(request.alpha)
        return {
            "score_nats": score_nats,
            "p_value": conformal.p_values(score_nats),
            "anomalous": score_nats > threshold_nats,
            "threshold_nats": np.full(len(score_nats), threshold_nats),
            **_where(results, levels, include_terms=request.include_terms),
        }


def heat_maps(surprise_nats: Array, levels: int) -> Array:
    """[k, 1, H, W] in [0, 1] of [k, C, H, W]: the mean over channels; 1 is that of uniform noise, log(levels)."""
    brightness: Array = (surprise_nats.mean(axis=1, keepdims=True) / math.log(levels)).clip(0, 1)
    return brightness


def _conformal(request: VaeAnomalyRequest, model: Model) -> Conformal:
    ascending = model.calibration[f"{request.score}_held_out"].astype(np.float64)
    return Conformal(ascending if SIGNS[request.score] > 0 else -ascending[::-1])


def _where(results: Results, levels: int | None, *, include_terms: bool) -> FieldColumns:
    if "terms" not in results.columns:
        return {}
    surprise_nats = np.negative(dense(results, "terms"))
    fields = {"heat_map": heat_maps(surprise_nats, levels)} if levels is not None else {}
    return fields | ({"terms_nats": surprise_nats.reshape(len(surprise_nats), -1)} if include_terms else {})
