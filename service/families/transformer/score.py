"""log p(text), token by token: the text is written as given, and each token's probability noted."""

import math
from collections.abc import Sequence

import numpy as np

from fivefold.errors import InvalidInput
from fivefold.transformer import SCORE, TransformerScoreRequest
from model_store.manifest import TransformerParams
from model_store.store import Model
from model_store.tokenizer import Tokenizer
from service.arrays import Arrays
from service.families.pipeline import Fields, Pipeline, Refusal, params_of, prepare_each
from service.families.transformer.prompts import check_context, prompt_of, some
from service.families.transformer.writer import work
from service.jobs import Event, Row

NOTHING_DRAWN = {"stop": (), "stop_tokens": (), "logprobs": 0}


class Score(Pipeline[TransformerScoreRequest]):
    """The text's tokens are forced on a row that would write them itself.

    They take the very calls that `generate` makes, one token each after the same prompt: a text has one
    log-probability, to the last bit, whether it is drawn or given.
    """

    operation = SCORE
    session_kind = "text"

    def prepare(self, request: TransformerScoreRequest, model: Model) -> list[Row | Refusal]:
        params = params_of(model, TransformerParams)
        prompt = prompt_of(request, model) or [params.end_of_text]
        place, texts = _texts(request, model)

        def make(index: int, seed: int) -> Row:
            forced = some(texts[index], model)
            check_context(len(prompt) + len(forced), params, "shorten the prompt or the text")
            arrays = {"prompt": np.array(prompt, np.int64), "forced": np.array(forced, np.int64)}
            options = {"max_tokens": len(forced), **NOTHING_DRAWN}
            return Row(index, seed, arrays, options, work(len(prompt), len(forced), params))

        return prepare_each(request, len(texts), make, place)

    def render(self, request: TransformerScoreRequest, items: Sequence[Event], model: Model) -> list[Fields]:
        return [_fields(item.arrays, model.tokenizer) for item in items]


def _texts(request: TransformerScoreRequest, model: Model) -> tuple[str, list[list[int]]]:
    """The field that holds the texts, and the tokens of each. Raises InvalidInput where not one of both is given."""
    if request.texts is not None and request.tokens is None:
        return "texts", [model.tokenizer.encode(text) for text in request.texts]
    if request.tokens is not None and request.texts is None:
        return "tokens", request.tokens
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
