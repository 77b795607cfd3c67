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
            return Row(index, seed, {"tokens": np.array(checked(request.tokens[index], model), np.int64)})

        return prepare_each(request, len(request.tokens), make, "tokens")

    def render(self, request: TransformerDetokenizeRequest, items: Sequence[Event], model: Model) -> list[Fields]:
        return [{"text": model.tokenizer.decode(item.arrays["tokens"].tolist())} for item in items]
