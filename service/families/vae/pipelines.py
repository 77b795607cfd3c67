"""The autoencoder's operations of one pass: encode, decode, reconstruct, sample."""

from fivefold.vae import (
    DECODE,
    ENCODE,
    RECONSTRUCT,
    SAMPLE,
    VaeDecodeRequest,
    VaeEncodeRequest,
    VaeReconstructRequest,
    VaeSampleRequest,
)
from model_store.manifest import VaeParams
from model_store.store import Model
from service.families.inputs import input_block, read_numbers
from service.families.pipeline import (
    FieldColumns,
    Pipeline,
    Prepared,
    Results,
    count_of,
    data_field,
    params_of,
    prepare_block,
)
from service.families.session import dense
from service.families.vae.parameters import VaeDecoding, VaeEncoding, VaeReconstruction


class Encode(Pipeline[VaeEncodeRequest]):
    """The posterior of data, q(z | x)."""

    operation = ENCODE
    kind = VaeEncoding

    def prepare(self, request: VaeEncodeRequest, model: Model) -> Prepared:
        return input_block(request, params_of(model, VaeParams).event_shape, VaeEncoding())

    def render(self, request: VaeEncodeRequest, results: Results, model: Model) -> FieldColumns:
        return results.columns


class Decode(Pipeline[VaeDecodeRequest]):
    """p(x | z) at given latents: its mean or a draw."""

    operation = DECODE
    kind = VaeDecoding

    def prepare(self, request: VaeDecodeRequest, model: Model) -> Prepared:
        z, refusals = read_numbers(request.latents, (params_of(model, VaeParams).latent_size,))
        count, parameters = len(request.latents), VaeDecoding(request.output)
        return prepare_block(request, parameters, count, {"z": z}, refusals=refusals, place="latents")

    def render(self, request: VaeDecodeRequest, results: Results, model: Model) -> FieldColumns:
        return data_field(dense(results, "x"))


class Reconstruct(Pipeline[VaeReconstructRequest]):
    """The encoder, then the decoder."""

    operation = RECONSTRUCT
    kind = VaeReconstruction

    def prepare(self, request: VaeReconstructRequest, model: Model) -> Prepared:
        return input_block(request, params_of(model, VaeParams).event_shape, VaeReconstruction(request.output))

    def render(self, request: VaeReconstructRequest, results: Results, model: Model) -> FieldColumns:
        error = dense(results, "mean_absolute_error")
        return {**data_field(dense(results, "x")), "mean_absolute_error": error}


class Sample(Pipeline[VaeSampleRequest]):
    """The decoder, at latents z ~ N(0, temperature^2) that the row's seed draws."""

    operation = SAMPLE
    kind = VaeDecoding

    def prepare(self, request: VaeSampleRequest, model: Model) -> Prepared:
        params_of(model, VaeParams)
        return prepare_block(request, VaeDecoding(request.output, request.temperature), count_of(request))

    def render(self, request: VaeSampleRequest, results: Results, model: Model) -> FieldColumns:
        return data_field(dense(results, "x"))
