"""The flow's operations: log-likelihood, encode, decode, sample, interpolate."""

import math

import numpy as np

from fivefold.errors import InvalidInput
from fivefold.flow import (
    DECODE,
    ENCODE,
    INTERPOLATE,
    LOG_LIKELIHOOD,
    SAMPLE,
    FlowDecodeRequest,
    FlowEncodeRequest,
    FlowInterpolateRequest,
    FlowLogLikelihoodRequest,
    FlowSampleRequest,
)
from model_store.manifest import FlowParams
from model_store.store import Model
from service.arrays import Array
from service.families.flow.parameters import FlowEncoding, FlowInterpolation, FlowInversion, FlowScore
from service.families.inputs import input_block, inputs_of, read_numbers
from service.families.interpolation import both_ends, positions
from service.families.pipeline import (
    FieldColumns,
    Pipeline,
    Prepared,
    Results,
    count_of,
    data_field,
    params_of,
    prepare_block,
    seeds_of,
)
from service.families.session import dense
from service.jobs import Block


class LogLikelihood(Pipeline[FlowLogLikelihoodRequest]):
    """log p(x) = log p(z) + sum of log-determinants, in nats per cell of the data."""

    operation = LOG_LIKELIHOOD
    kind = FlowScore

    def prepare(self, request: FlowLogLikelihoodRequest, model: Model) -> Prepared:
        return input_block(request, params_of(model, FlowParams).event_shape, FlowScore(request.include_terms))

    def render(self, request: FlowLogLikelihoodRequest, results: Results, model: Model) -> FieldColumns:
        params, log_prob_nats = params_of(model, FlowParams), dense(results, "log_prob").astype(np.float64)
        fields: FieldColumns = {
            "log_prob_nats": log_prob_nats,
            "bits_per_dim": -log_prob_nats / (math.prod(params.event_shape) * math.log(2)),
            "base_log_prob_nats": dense(results, "base_log_prob").astype(np.float64),
            "log_dets_nats": [
                dict(zip(params.layers, row, strict=True)) for row in dense(results, "log_dets").tolist()
            ],
            "round_trip_error": dense(results, "round_trip_error").astype(np.float64),
        }
        if not request.include_terms:
            return fields
        return {**fields, "terms_nats": dense(results, "terms").reshape(len(results.rows), -1)}


class Encode(Pipeline[FlowEncodeRequest]):
    """The exact posterior: a flow has one z for every x."""

    operation = ENCODE
    kind = FlowEncoding

    def prepare(self, request: FlowEncodeRequest, model: Model) -> Prepared:
        return input_block(request, params_of(model, FlowParams).event_shape, FlowEncoding())

    def render(self, request: FlowEncodeRequest, results: Results, model: Model) -> FieldColumns:
        return {"latents": dense(results, "z").reshape(len(results.rows), -1)}


class Decode(Pipeline[FlowDecodeRequest]):
    """The inverse, at latents that are given."""

    operation = DECODE
    kind = FlowInversion

    def prepare(self, request: FlowDecodeRequest, model: Model) -> Prepared:
        z, refusals = read_numbers(request.latents, params_of(model, FlowParams).event_shape)
        count = len(request.latents)
        return prepare_block(request, FlowInversion(), count, {"z": z}, refusals=refusals, place="latents")

    def render(self, request: FlowDecodeRequest, results: Results, model: Model) -> FieldColumns:
        return data_field(dense(results, "x"))


class Sample(Pipeline[FlowSampleRequest]):
    """The inverse, at latents z ~ N(0, temperature^2) that the row's seed draws."""

    operation = SAMPLE
    kind = FlowInversion

    def prepare(self, request: FlowSampleRequest, model: Model) -> Prepared:
        params_of(model, FlowParams)
        return prepare_block(request, FlowInversion(request.temperature), count_of(request))

    def render(self, request: FlowSampleRequest, results: Results, model: Model) -> FieldColumns:
        return data_field(dense(results, "x"))


class Interpolate(Pipeline[FlowInterpolateRequest]):
    """Forward on both ends, a path between their latents, and the inverse: for each frame."""

    operation = INTERPOLATE
    kind = FlowInterpolation

    def prepare(self, request: FlowInterpolateRequest, model: Model) -> Prepared:
        ends = _ends(request, params_of(model, FlowParams).event_shape)
        start, end = seeds_of(request, 2).tolist()
        frames = request.frames
        parameters = FlowInterpolation(request.path, (start, end))
        seeds, columns = np.full(frames, start), {"position": positions(frames)}
        return Prepared(frames, Block(parameters, np.arange(frames), seeds, np.ones(frames), columns, {"ends": ends}))

    def render(self, request: FlowInterpolateRequest, results: Results, model: Model) -> FieldColumns:
        return {**data_field(dense(results, "x")), "position": positions(request.frames)[results.rows]}


def _ends(request: FlowInterpolateRequest, shape: tuple[int, ...]) -> Array:
    """Both ends, [2, *event]. Raises InvalidInput for another count, naming the end that cannot be read."""
    inputs = inputs_of(request, shape)
    if inputs.count != 2:
        raise InvalidInput.at(inputs.place, f"{inputs.count} {inputs.place} given, 2 expected: send both ends")
    return both_ends(inputs.x, inputs.refusals, inputs.place)
