"""transformer-english through its session: torch's own tokens, and prose that it knows."""

import pytest
from served import serving
from shipped import answers, loaded

from fivefold import Client
from fivefold.transformer import TransformerGenerateRequest, TransformerScoreRequest
from model_store import golden
from model_store.store import Store
from service.families.transformer import FAMILY

NAME = "transformer-english"


def test_the_golden_text_of_the_trainer_is_written_again() -> None:
    model, _ = loaded(NAME)
    case = golden.unpack(model, "generate")
    prompt, wanted = case.inputs["prompt_ids"].tolist(), case.outputs["greedy_ids"].tolist()
    request = TransformerGenerateRequest(prompt_tokens=prompt, max_tokens=len(wanted), temperature=0)
    (item,) = answers(NAME, "generate", request)
    assert item["tokens"] == wanted


def test_prose_is_likelier_than_its_words_in_another_order() -> None:
    prose = "The people of the United States have been at peace with all the nations of the world."
    mixed = " ".join(sorted(prose.split(), key=len))
    known, unknown = answers(NAME, "score", TransformerScoreRequest(texts=[prose, mixed]))
    assert known["log_prob_nats"] > unknown["log_prob_nats"] + 10
    assert known["bits_per_byte"] < 2.5


@pytest.mark.parametrize("length", [1, 31, 32, 33, 100])
def test_where_a_prompt_ends_changes_no_log_probability_beyond_1e_5(length: int) -> None:
    model, _ = loaded(NAME)
    text = model.tokenizer.encode("It is a truth universally acknowledged, that a single man is in want. " * 12)[:120]

    def scored(prompt: int) -> list[float]:
        request = TransformerScoreRequest(prompt_tokens=text[:prompt], tokens=[text[prompt:]])
        return answers(NAME, "score", request)[0]["log_probs_nats"].tolist()

    assert scored(length) == pytest.approx(scored(1)[length - 1 :], abs=1e-5)


def test_a_worker_charges_the_evaluations_that_texts_need_and_no_more() -> None:
    """16 prompts of 43 tokens are two chunks each; the second gives the first of 16 new tokens."""
    with serving(Store(), (FAMILY,), models=(NAME,)) as service, Client(service.url) as client:
        before = service.worker.steps.rows_run
        texts = client.transformer_generate(prompt_tokens=list(range(40, 83)), n=16, max_tokens=16, seed=1).results
        assert [len(text.tokens) for text in texts] == [16] * 16
        assert service.worker.steps.rows_run - before == 16 * (2 + 15)
