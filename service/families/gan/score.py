"""The critic's opinion of images, against its opinion of real and of generated ones."""

import math

import numpy as np

from fivefold.gan import SCORE, GanScoreRequest
from model_store.manifest import GanParams
from model_store.store import Model
from service.arrays import Array
from service.families.gan.parameters import GanJudgement
from service.families.inputs import class_index, input_block
from service.families.pipeline import FieldColumns, Pipeline, Prepared, Results, map_values, params_of
from service.families.session import dense
from service.jobs import Floats


class Score(Pipeline[GanScoreRequest]):
    """One pass of the critic per class that is judged."""

    operation = SCORE
    kind = GanJudgement

    def prepare(self, request: GanScoreRequest, model: Model) -> Prepared:
        params = params_of(model, GanParams)
        labels = _labels(request, params)
        return input_block(request, params.image_shape, GanJudgement(labels), work=len(labels))

    def render(self, request: GanScoreRequest, results: Results, model: Model) -> FieldColumns:
        params, logits = params_of(model, GanParams), dense(results, "logits")
        names = [params.classes[label] for label in _labels(request, params)]
        best, calibration = logits.max(axis=1).astype(np.float64), model.calibration
        return {
            "class": [names[index] for index in logits.argmax(axis=1).tolist()],
            "logit": best,
            "probability": map_values(_sigmoid, best),
            "percentile_real": percentiles(best, calibration["logit_real"]),
            "percentile_generated": percentiles(best, calibration["logit_generated"]),
        }


def percentiles(values: Floats, ascending: Array) -> Floats:
    """[k], 0 to 100: the share of `ascending` that is not above each value."""
    return 100 * np.searchsorted(ascending, values, side="right") / len(ascending)


def _labels(request: GanScoreRequest, params: GanParams) -> tuple[int, ...]:
    if request.class_name is None:
        return tuple(range(len(params.classes)))
    return (class_index(request.class_name, params.classes),)


def _sigmoid(logit: float) -> float:
    return (1 + math.tanh(logit / 2)) / 2
