"""log p(x) with its parts: the base density, one log-determinant per layer, one term per entry."""

import math
from collections.abc import Sequence

from fivefold.flow import LOG_LIKELIHOOD, FlowLogLikelihoodRequest
from model_store.manifest import FlowParams
from model_store.store import Model
from service.arrays import Arrays
from service.families.inputs import input_rows
from service.families.pipeline import Fields, Pipeline, Refusal, params_of
from service.jobs import Event, Row


class LogLikelihood(Pipeline[FlowLogLikelihoodRequest]):
    """log p(x) = log p(z) + sum of log-determinants, in nats per cell of the data."""

    operation = LOG_LIKELIHOOD
    session_kind = "score"

    def prepare(self, request: FlowLogLikelihoodRequest, model: Model) -> list[Row | Refusal]:
        options = {"include_terms": request.include_terms}
        return input_rows(request, params_of(model, FlowParams).event_shape, options)

    def render(self, request: FlowLogLikelihoodRequest, items: Sequence[Event], model: Model) -> list[Fields]:
        params = params_of(model, FlowParams)
        return [_fields(item.arrays, params) for item in items]


def _fields(scores: Arrays, params: FlowParams) -> Fields:
    log_prob_nats = float(scores["log_prob"])
    fields = {
        "log_prob_nats": log_prob_nats,
        "bits_per_dim": -log_prob_nats / (math.prod(params.event_shape) * math.log(2)),
        "base_log_prob_nats": float(scores["base_log_prob"]),
        "log_dets_nats": dict(zip(params.layers, scores["log_dets"].tolist(), strict=True)),
        "round_trip_error": float(scores["round_trip_error"]),
    }
    return fields | ({"terms_nats": scores["terms"].reshape(-1)} if "terms" in scores else {})
