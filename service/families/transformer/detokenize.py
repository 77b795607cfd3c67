"""Token ids to text; no device is asked."""

from collections.abc import Sequence

import numpy as np

from fivefold.transformer import DETOKENIZE, TransformerDetokenizeRequest
from model_store.store import Model
from service.arrays import Array, Ragged
from service.families.pipeline import FieldColumns, Pipeline, Prepared, Results, prepare_block, read_each, refuse
from service.families.transformer.prompts import check_vocabulary
from service.jobs import Parameters


class Detokenize(Pipeline[TransformerDetokenizeRequest]):
    """The inverse of the tokenizer: any ids have a text."""

    operation = DETOKENIZE
    kind = None

    def prepare(self, request: TransformerDetokenizeRequest, model: Model) -> Prepared:
        def text_of(item: Sequence[int]) -> Array:
            tokens = check_vocabulary(item, model)
            return np.frombuffer(model.tokenizer.decode(tokens).encode(), np.uint8)

        count = len(request.tokens)
        texts, refusals = read_each(request.tokens, text_of)
        refuse(refusals, request, count, "tokens")
        return prepare_block(request, Parameters(), count, {"text": Ragged.of(texts)}, refusals=refusals)

    def render(self, request: TransformerDetokenizeRequest, results: Results, model: Model) -> FieldColumns:
        return {"text": [text.tobytes().decode() for text in results.columns["text"]]}
