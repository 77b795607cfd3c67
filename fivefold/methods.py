"""The named methods of both clients: one line per operation, typed by its request."""

from collections.abc import Awaitable, Callable
from inspect import Signature, signature
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Self, TypeVar, overload

from fivefold import diffusion, flow, gan, transformer, vae
from fivefold.handles import AsyncJobHandle, JobHandle
from fivefold.operation import AnswerT, ChunkT, Operation, Request
from fivefold.parsing import built
from fivefold.streaming import AsyncStream, Stream

if TYPE_CHECKING:
    from fivefold.client import AsyncClient, Client

P = ParamSpec("P")
ResultT = TypeVar("ResultT")
StreamT = TypeVar("StreamT")
HandleT = TypeVar("HandleT")


class BoundMethod(Generic[P, ResultT, StreamT, HandleT]):
    """One operation: `client.flow_sample(n=2)` is its answer, `.stream(n=2)` its stream, `.submit(n=2)` a job."""

    def __init__(self, client: Any, operation: Operation[Any, Any, Any]) -> None:
        self._client = client
        self._operation = operation
        self.__doc__ = operation.summary

    @property
    def __signature__(self) -> Signature:
        return signature(self._operation.request)

    def __call__(self, *_: P.args, **fields: P.kwargs) -> ResultT:
        result: ResultT = self._client.call(self._operation, built(self._operation.request, fields))
        return result

    def stream(self, *_: P.args, **fields: P.kwargs) -> StreamT:
        result: StreamT = self._client.stream(self._operation, built(self._operation.request, fields))
        return result

    def submit(self, *_: P.args, **fields: P.kwargs) -> HandleT:
        result: HandleT = self._client.submit(self._operation, built(self._operation.request, fields))
        return result


class Method(Generic[P, AnswerT, ChunkT]):
    """Declares a named method: `request`, the operation's own, is named again because it carries the arguments."""

    def __init__(self, operation: Operation[Any, AnswerT, ChunkT], request: Callable[P, Request]) -> None:
        self.operation = operation
        self.request = request

    @overload
    def __get__(self, client: None, owner: type) -> Self: ...
    @overload
    def __get__(
        self, client: "Client", owner: type
    ) -> BoundMethod[P, AnswerT, Stream[AnswerT, ChunkT], JobHandle[AnswerT, ChunkT]]: ...
    @overload
    def __get__(
        self, client: "AsyncClient", owner: type
    ) -> BoundMethod[
        P, Awaitable[AnswerT], AsyncStream[AnswerT, ChunkT], Awaitable[AsyncJobHandle[AnswerT, ChunkT]]
    ]: ...
    def __get__(self, client: Any, owner: type) -> Any:
        return self if client is None else BoundMethod(client, self.operation)


class Methods:
    """Declared once: the synchronous and the asynchronous client are equal by construction."""

    flow_log_likelihood = Method(flow.LOG_LIKELIHOOD, flow.FlowLogLikelihoodRequest)
    flow_encode = Method(flow.ENCODE, flow.FlowEncodeRequest)
    flow_decode = Method(flow.DECODE, flow.FlowDecodeRequest)
    flow_sample = Method(flow.SAMPLE, flow.FlowSampleRequest)
    flow_interpolate = Method(flow.INTERPOLATE, flow.FlowInterpolateRequest)
    diffusion_sample = Method(diffusion.SAMPLE, diffusion.DiffusionSampleRequest)
    diffusion_enhance = Method(diffusion.ENHANCE, diffusion.DiffusionEnhanceRequest)
    transformer_generate = Method(transformer.GENERATE, transformer.TransformerGenerateRequest)
    transformer_score = Method(transformer.SCORE, transformer.TransformerScoreRequest)
    transformer_tokenize = Method(transformer.TOKENIZE, transformer.TransformerTokenizeRequest)
    transformer_detokenize = Method(transformer.DETOKENIZE, transformer.TransformerDetokenizeRequest)
    vae_anomaly = Method(vae.ANOMALY, vae.VaeAnomalyRequest)
    vae_elbo = Method(vae.ELBO, vae.VaeElboRequest)
    vae_encode = Method(vae.ENCODE, vae.VaeEncodeRequest)
    vae_decode = Method(vae.DECODE, vae.VaeDecodeRequest)
    vae_reconstruct = Method(vae.RECONSTRUCT, vae.VaeReconstructRequest)
    vae_sample = Method(vae.SAMPLE, vae.VaeSampleRequest)
    gan_sample = Method(gan.SAMPLE, gan.GanSampleRequest)
    gan_interpolate = Method(gan.INTERPOLATE, gan.GanInterpolateRequest)
    gan_score = Method(gan.SCORE, gan.GanScoreRequest)
