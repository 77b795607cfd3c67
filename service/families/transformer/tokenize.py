"""Text to token ids; no device is asked."""

from collections.abc import Sequence

import numpy as np

from fivefold.transformer import TOKENIZE, TransformerTokenizeRequest
from model_store.manifest import TransformerParams
from model_store.store import Model
from service.families.pipeline import Fields, Pipeline, Refusal, params_of, prepare_each
from service.jobs import Event, Row


class Tokenize(Pipeline[TransformerTokenizeRequest]):
    """The model's own tokenizer."""

    operation = TOKENIZE
    session_kind = None

    def prepare(self, request: TransformerTokenizeRequest, model: Model) -> list[Row | Refusal]:
        params_of(model, TransformerParams)

        def make(index: int, seed: int) -> Row:
            return Row(index, seed, {"tokens": np.array(model.tokenizer.encode(request.texts[index]), np.int64)})

        return prepare_each(request, len(request.texts), make, "texts")

    def render(self, request: TransformerTokenizeRequest, items: Sequence[Event], model: Model) -> list[Fields]:
        return [{"tokens": item.arrays["tokens"]} for item in items]
