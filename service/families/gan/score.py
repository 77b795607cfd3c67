"""The critic's opinion of images, against its opinion of real and of generated ones."""

import math
from collections.abc import Sequence

import numpy as np

from fivefold.gan import SCORE, GanScoreRequest
from model_store.manifest import GanParams
from model_store.store import Model
from service.arrays import Array
from service.families.inputs import class_index, input_rows
from service.families.pipeline import Fields, Pipeline, Refusal, params_of
from service.jobs import Event, Row


class Score(Pipeline[GanScoreRequest]):
    """One pass of the critic per class that is judged."""

    operation = SCORE
    session_kind = "critic"

    def prepare(self, request: GanScoreRequest, model: Model) -> list[Row | Refusal]:
        params = params_of(model, GanParams)
        labels = _labels(request, params)
        return input_rows(request, params.image_shape, {"labels": labels}, work=len(labels))

    def render(self, request: GanScoreRequest, items: Sequence[Event], model: Model) -> list[Fields]:
        params = params_of(model, GanParams)
        names = [params.classes[label] for label in _labels(request, params)]
        calibration = model.calibration
        return [
            {"class": names[int(item.arrays["logits"].argmax())]}
            | _opinion(float(item.arrays["logits"].max()), calibration["logit_real"], calibration["logit_generated"])
            for item in items
        ]


def percentile(value: float, ascending: Array) -> float:
    """0 to 100: the share of `ascending` that is not above `value`."""
    return 100 * int(np.searchsorted(ascending, value, side="right")) / len(ascending)


def _labels(request: GanScoreRequest, params: GanParams) -> list[int]:
    if request.class_name is None:
        return list(range(len(params.classes)))
    return [class_index(request.class_name, params.classes)]


def _opinion(logit: float, real: Array, generated: Array) -> Fields:
    return {
        "logit": logit,
        "probability": (1 + math.tanh(logit / 2)) / 2,
        "percentile_real": percentile(logit, real),
        "percentile_generated": percentile(logit, generated),
    }
