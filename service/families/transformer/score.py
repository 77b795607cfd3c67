"""log p(text), token by token: the text is written as given, and each token's probability noted."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fivefold.errors import InvalidInput
from fivefold.transformer import SCORE, TransformerScoreRequest
from model_store.manifest import TransformerParams
from model_store.store import Model
from model_store.tokenizer import Tokenizer
from service.arrays import Array, Arrays, Ragged
from service.families.pipeline import (
    FieldColumns,
    Fields,
    Pipeline,
    Prepared,
    Results,
    params_of,
    prepare_block,
    read_each,
    refuse,
)
from service.families.transformer.prompts import check_context, check_size, prompt_of, require_nonempty
from service.families.transformer.rendering import render_each
from service.families.transformer.writing import Writing, chunks_of


class Score(Pipeline[TransformerScoreRequest]):
    """The text's tokens are forced on a row that would write them itself.

    They take the very calls that `generate` makes, one token each after the same prompt: a text has one
    log-probability, to the last bit, whether it is drawn or given.
    """

    operation = SCORE
    kind = Writing

    def prepare(self, request: TransformerScoreRequest, model: Model) -> Prepared:
        params = params_of(model, TransformerParams)
        prompt = prompt_of(request, model) or [params.end_of_text]
        place, texts, tokens_of = _texts(request, model)

        def text_of(item: Any) -> Array:
            text = require_nonempty(tokens_of(item), model)
            check_context(len(prompt) + len(text), params, "shorten the prompt or the text")
            return np.array(text, np.int64)

        forced, refusals = read_each(texts, text_of)
        refuse(refusals, request, len(texts), place)
        chunks, columns = chunks_of(len(prompt), params), {"forced": Ragged.of(forced)}
        work, shared = np.array([chunks + len(text) - 1 for text in forced]), {"prompt": np.array(prompt, np.int64)}
        parameters = Writing(prompt_chunks=chunks)
        return prepare_block(request, parameters, len(texts), columns, work=work, shared=shared, refusals=refusals)

    def render(self, request: TransformerScoreRequest, results: Results, model: Model) -> FieldColumns:
        return render_each(results, lambda text: _fields(text, model.tokenizer))


def _texts(request: TransformerScoreRequest, model: Model) -> tuple[str, Sequence[Any], Callable[[Any], Sequence[int]]]:
    """The field that holds the texts, the texts, and what gives the tokens of one.

    Raises InvalidInput where not one of both is given.
    """
    if request.texts is not None and request.tokens is None:
        check_size(request.texts)
        return "texts", request.texts, model.tokenizer.encode
    if request.tokens is not None and request.texts is None:
        return "tokens", request.tokens, list
    given = "neither texts nor tokens" if request.texts is None else "texts and tokens both"
    raise InvalidInput(f"{given} given, 1 of the 2 expected: send one of them")


def _fields(text: Arrays, tokenizer: Tokenizer) -> Fields:
    tokens, log_prob_nats = text["tokens"].tolist(), math.fsum(text["log_prob"])
    size_bytes = sum(len(tokenizer.token_bytes(token)) for token in tokens)
    return {
        "tokens": tokens,
        "log_probs_nats": text["log_prob"],
        "log_prob_nats": log_prob_nats,
        "perplexity": math.exp(-log_prob_nats / len(tokens)),
        "bits_per_byte": -log_prob_nats / (math.log(2) * size_bytes) if size_bytes else None,
    }
