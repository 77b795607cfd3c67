"""How unlike the training data an item is: a score, its conformal p-value, and where."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from fivefold.vae import ANOMALY, Score, VaeAnomalyRequest
from model_store.manifest import VaeParams
from model_store.store import Model
from service.arrays import Array, Arrays
from service.families.inputs import input_rows
from service.families.pipeline import Fields, Pipeline, Refusal, params_of
from service.families.vae.conformal import Conformal
from service.jobs import Event, Row

QUANTITIES: Mapping[Score, Callable[[Arrays], float]] = {
    "elbo": lambda arrays: float(arrays["log_likelihood"][0]) - float(arrays["kl"]),
    "reconstruction": lambda arrays: float(arrays["log_likelihood"][0]),
    "kl": lambda arrays: float(arrays["kl"]),
}
"""What a score is made of, in nats of one draw; the calibration holds the same of held-out data, ascending."""
SIGNS: Mapping[Score, int] = {"elbo": -1, "reconstruction": -1, "kl": 1}
"""score = sign * quantity: higher is stranger."""


class Anomaly(Pipeline[VaeAnomalyRequest]):
    """A score against the held-out scores of normal data."""

    operation = ANOMALY
    session_kind = "bound"

    def prepare(self, request: VaeAnomalyRequest, model: Model) -> list[Row | Refusal]:
        shape = params_of(model, VaeParams).event_shape
        _conformal(request, model).threshold(request.alpha)  # an alpha that nothing can reach is refused here
        return input_rows(request, shape, {"samples": 1, "terms": request.include_terms or len(shape) == 3})

    def render(self, request: VaeAnomalyRequest, items: Sequence[Event], model: Model) -> list[Fields]:
        conformal, levels = _conformal(request, model), params_of(model, VaeParams).levels
        threshold_nats = conformal.threshold(request.alpha)
        return [
            {
                **_verdict(SIGNS[request.score] * QUANTITIES[request.score](item.arrays), conformal, threshold_nats),
                **_where(item.arrays, levels, include_terms=request.include_terms),
            }
            for item in items
        ]


def heat_map(surprise_nats: Array, levels: int) -> Array:
    """[1, H, W] in [0, 1] of [C, H, W]: the mean over channels; 1 is the surprise of uniform noise, log(levels)."""
    brightness: Array = (surprise_nats.mean(axis=0, keepdims=True) / math.log(levels)).clip(0, 1)
    return brightness


def _conformal(request: VaeAnomalyRequest, model: Model) -> Conformal:
    ascending = model.calibration[f"{request.score}_held_out"].astype(np.float64)
    return Conformal(ascending if SIGNS[request.score] > 0 else -ascending[::-1])


def _verdict(score_nats: float, conformal: Conformal, threshold_nats: float) -> Fields:
    return {
        "score_nats": score_nats,
        "p_value": conformal.p_value(score_nats),
        "anomalous": score_nats > threshold_nats,
        "threshold_nats": threshold_nats,
    }


def _where(arrays: Arrays, levels: int | None, *, include_terms: bool) -> Fields:
    if "terms" not in arrays:
        return {}
    surprise_nats = np.negative(arrays["terms"])
    picture = {"heat_map": heat_map(surprise_nats, levels)} if levels is not None else {}
    return picture | ({"terms_nats": surprise_nats.reshape(-1)} if include_terms else {})
