"""A text's bytes do not depend on what shares its batch, nor on when it joins."""

import tiny_text
from exactness import CELLS, Case, assert_exact

from fivefold.operation import SeededRequest
from fivefold.transformer import TransformerGenerateRequest, TransformerScoreRequest
from model_store.store import Model
from service.families.transformer import FAMILY

GENERATE, SCORE, *_ = FAMILY.pipelines
REQUESTS: list[SeededRequest] = [
    TransformerGenerateRequest(prompt_tokens=[1, 2, 3], max_tokens=9, seed=1),
    TransformerGenerateRequest(prompt_tokens=list(range(40, 53)), max_tokens=4, seed=2, temperature=0),
    TransformerGenerateRequest(prompt_tokens=[1], max_tokens=20, seed=3, temperature=1.7, top_k=20, logprobs=3),
    TransformerGenerateRequest(prompt="naïve", max_tokens=12, seed=4, top_p=0.9, stop=["e", "an"], stop_tokens=[7]),
    TransformerScoreRequest(prompt="The", texts=["people of the union"]),
    TransformerScoreRequest(tokens=[list(range(1, 32))]),
]


def test_rows_of_all_lengths_answer_alike_whatever_shares_their_batch_and_whenever_they_join(text_model: Model) -> None:
    cases = [Case(GENERATE if isinstance(one, TransformerGenerateRequest) else SCORE, one) for one in REQUESTS]
    assert assert_exact(FAMILY, text_model, [tiny_text.load(text_model)], cases) == CELLS * len(cases)
