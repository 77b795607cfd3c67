"""Token ids to text; no device is asked."""

from collections.abc import Sequence

import numpy as np

from fivefold.transformer import DETOKENIZE, TransformerDetokenizeRequest
from model_store.store import Model
from service.families.pipeline import Fields, Pipeline, Refusal, prepare_each
from service.families.transformer.prompts import checked
from service.jobs import Event, Row


class Detokenize(Pipeline[TransformerDetokenizeRequest]):
    """The inverse of the tokenizer: any ids have a text."""

    operation = DETOKENIZE
    session_kind = None

    def prepare(self, request: TransformerDetokenizeRequest, model: Model) -> list[Row | Refusal]:
        def make(index: int, seed: int) -> Row:
            tokens = checked(request.tokens[index], model)
            return Row(index, seed, {"text": np.frombuffer(model.tokenizer.decode(tokens).encode(), np.uint8)})

        return prepare_each(request, len(request.tokens), make, "tokens")

    def render(self, request: TransformerDetokenizeRequest, items: Sequence[Event], model: Model) -> list[Fields]:
        return [{"text": item.arrays["text"].tobytes().decode()} for item in items]
