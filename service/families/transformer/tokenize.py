"""Text to token ids; no device is asked."""

import numpy as np

from fivefold.transformer import TOKENIZE, TransformerTokenizeRequest
from model_store.manifest import TransformerParams
from model_store.store import Model
from service.arrays import Ragged
from service.families.pipeline import (
    FieldColumns,
    Pipeline,
    Prepared,
    Results,
    params_of,
    prepare_block,
    read_each,
    refuse,
)
from service.families.transformer.prompts import check_size
from service.jobs import Parameters


class Tokenize(Pipeline[TransformerTokenizeRequest]):
    """The model's own tokenizer."""

    operation = TOKENIZE
    kind = None

    def prepare(self, request: TransformerTokenizeRequest, model: Model) -> Prepared:
        params_of(model, TransformerParams)
        check_size(request.texts)
        texts, refusals = read_each(request.texts, lambda text: np.array(model.tokenizer.encode(text), np.int64))
        count = len(request.texts)
        refuse(refusals, request, count, "texts")
        return prepare_block(request, Parameters(), count, {"tokens": Ragged.of(texts)}, refusals=refusals)

    def render(self, request: TransformerTokenizeRequest, results: Results, model: Model) -> FieldColumns:
        return {"tokens": results.columns["tokens"]}
