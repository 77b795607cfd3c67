"""Text after a prompt, and its stream: whole characters, nothing of a stop string."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fivefold.errors import InvalidInput
from fivefold.transformer import GENERATE, TransformerGenerateRequest
from model_store.manifest import TransformerParams
from model_store.store import Model
from service.arrays import Arrays
from service.families.pipeline import Fields, Pipeline, Refusal, count_of, params_of, prepare_each
from service.families.transformer.prompts import check_context, prompt_of
from service.families.transformer.text_stream import TextStream
from service.families.transformer.writer import FINISH_REASONS, work
from service.jobs import Event, Row


class Generate(Pipeline[TransformerGenerateRequest]):
    """Tokens that each row's seed draws."""

    operation = GENERATE
    session_kind = "text"

    def prepare(self, request: TransformerGenerateRequest, model: Model) -> list[Row | Refusal]:
        params, prompt = params_of(model, TransformerParams), prompt_of(request, model)
        if prompt is None:
            raise InvalidInput("neither prompt nor prompt_tokens given: send one of them")
        check_context(len(prompt) + request.max_tokens, params, "shorten the prompt or max_tokens")
        arrays, options = {"prompt": np.array(prompt, np.int64)}, _options(request, params)
        evaluations = work(len(prompt), request.max_tokens, params)

        def make(index: int, seed: int) -> Row:
            return Row(index, seed, arrays, options, evaluations)

        return prepare_each(request, count_of(request), make, "n")

    def render(self, request: TransformerGenerateRequest, items: Sequence[Event], model: Model) -> list[Fields]:
        return [_fields(item.arrays, _text_stream(request, model)) for item in items]

    def chunk(self, request: TransformerGenerateRequest, event: Event, state: Fields, model: Model) -> Fields:
        stream: TextStream = state.setdefault(str(event.row), _text_stream(request, model))
        token, last = int(event.arrays["token"]), "finish" in event.arrays
        reason = {"finish_reason": FINISH_REASONS[int(event.arrays["finish"])]} if last else {}
        return {
            "text": stream.feed(token, last=last),
            "token": token,
            "log_prob_nats": float(event.arrays["log_prob"]),
            **reason,
        }


def _options(request: TransformerGenerateRequest, params: TransformerParams) -> dict[str, Any]:
    options = request.model_dump(include={"max_tokens", "temperature", "top_k", "top_p", "stop", "logprobs"})
    return {**options, "stop_tokens": [*request.stop_tokens, params.end_of_text]}


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
