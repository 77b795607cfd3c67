"""Text after a prompt, and its stream: whole characters, nothing of a stop string."""

import numpy as np

from fivefold.errors import InvalidInput
from fivefold.transformer import GENERATE, TransformerGenerateRequest
from model_store.manifest import TransformerParams
from model_store.store import Model
from service.arrays import Arrays
from service.families.pipeline import (
    FieldColumns,
    Fields,
    ItemStep,
    Pipeline,
    Prepared,
    Results,
    count_of,
    params_of,
    prepare_block,
)
from service.families.transformer.prompts import check_context, prompt_of
from service.families.transformer.rendering import render_each
from service.families.transformer.text_stream import TextStream
from service.families.transformer.writer import FINISH_REASONS
from service.families.transformer.writing import Writing, chunks_of


class Generate(Pipeline[TransformerGenerateRequest]):
    """Tokens that each row's seed draws."""

    operation = GENERATE
    kind = Writing

    def prepare(self, request: TransformerGenerateRequest, model: Model) -> Prepared:
        params, prompt = params_of(model, TransformerParams), prompt_of(request, model)
        if prompt is None:
            raise InvalidInput("neither prompt nor prompt_tokens given: send one of them")
        check_context(len(prompt) + request.max_tokens, params, "shorten the prompt or max_tokens")
        chunks, shared = chunks_of(len(prompt), params), {"prompt": np.array(prompt, np.int64)}
        work = chunks + request.max_tokens - 1
        return prepare_block(request, _writing(request, chunks, params), count_of(request), work=work, shared=shared)

    def render(self, request: TransformerGenerateRequest, results: Results, model: Model) -> FieldColumns:
        return render_each(results, lambda text: _fields(text, _text_stream(request, model)))

    def chunk(self, request: TransformerGenerateRequest, step: ItemStep, state: Fields, model: Model) -> Fields:
        stream: TextStream = state.setdefault(str(step.row), _text_stream(request, model))
        token, last = int(step.arrays["token"]), "finish" in step.arrays
        reason = {"finish_reason": FINISH_REASONS[int(step.arrays["finish"])]} if last else {}
        return {
            "text": stream.feed(token, last=last),
            "token": token,
            "log_prob_nats": float(step.arrays["log_prob"]),
            **reason,
        }


def _writing(request: TransformerGenerateRequest, prompt_chunks: int, params: TransformerParams) -> Writing:
    """What no token can meet, an id or a count beyond the vocabulary, is left out."""
    known = params.vocabulary_size
    return Writing(
        max_tokens=request.max_tokens,
        temperature=request.temperature,
        top_k=None if request.top_k is None else min(request.top_k, known),
        top_p=request.top_p,
        stop=tuple(request.stop),
        stop_tokens=(*(token for token in request.stop_tokens if token < known), params.end_of_text),
        logprobs=request.logprobs,
        prompt_chunks=prompt_chunks,
    )


def _text_stream(request: TransformerGenerateRequest, model: Model) -> TextStream:
    return TextStream(model.tokenizer, request.stop, request.stop_tokens)


def _fields(text: Arrays, stream: TextStream) -> Fields:
    tokens = text["tokens"].tolist()
    *first, last = tokens
    pieces = [stream.feed(token) for token in first]
    fields = {
        "text": "".join([*pieces, stream.feed(last, last=True)]),
        "tokens": tokens,
        "log_probs_nats": text["log_prob"],
        "finish_reason": FINISH_REASONS[int(text["finish"])],
        "usage": {"prompt_tokens": int(text["prompt_tokens"]), "completion_tokens": len(tokens)},
    }
    return fields | ({"alternatives": _alternatives(text)} if "best_tokens" in text else {})


def _alternatives(text: Arrays) -> list[list[Fields]]:
    places = zip(text["best_tokens"].tolist(), text["best_log_probs"].tolist(), strict=True)
    return [
        [{"token": token, "log_prob_nats": log_prob} for token, log_prob in zip(*place, strict=True)]
        for place in places
    ]
