"""Text requests: what is refused with both numbers and the way out, how texts end, what answers hold."""

import json
import re
from collections.abc import Sequence
from typing import Any

import pytest
import tiny
import tiny_text
from pydantic import ValidationError

from fivefold.errors import InvalidInput
from fivefold.transformer import (
    TransformerDetokenizeRequest,
    TransformerGenerateRequest,
    TransformerScoreRequest,
    TransformerTokenizeRequest,
)
from model_store.store import Model
from service.costs import CostCurve
from service.families.pipeline import Fields, ItemStep, Results
from service.families.transformer import FAMILY
from service.families.transformer.writing import Writing

GENERATE, SCORE, TOKENIZE, DETOKENIZE = FAMILY.pipelines
PROMPT = [5, 6, 7]


def asked_for(asked: dict[str, Any]) -> TransformerGenerateRequest:
    return TransformerGenerateRequest.model_validate({"prompt_tokens": PROMPT, "max_tokens": 12, "seed": 2} | asked)


def generated(model: Model, **asked: Any) -> list[Fields]:
    return tiny_text.answer(model, GENERATE, asked_for(asked))


def streamed(model: Model, **asked: Any) -> list[Fields]:
    """The chunks of the first row."""
    request, texts, state = asked_for(asked), tiny_text.Texts(model), dict[str, Any]()
    texts.admit("job", GENERATE.prepare(request, model).block)
    steps = [event for event in texts.finish()["job", 0] if event.kind == "step"]
    return [GENERATE.chunk(request, ItemStep(one.row, one.step, one.arrays), state, model) for one in steps]


# Refused by the model's measures


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "neither prompt nor prompt_tokens given: send one of them"),
        ({"prompt": "a", "prompt_tokens": [1]}, "prompt and prompt_tokens both given: send one of them"),
        ({"prompt": ""}, "0 tokens given, 1 or more expected: send some text"),
        ({"prompt_tokens": []}, "0 tokens given, 1 or more expected: send some text"),
        ({"prompt_tokens": [3, 300]}, "token id 300 given, the vocabulary has the ids 0 to 299: use `tokenize`"),
        (
            {"prompt_tokens": [1] * 10, "max_tokens": 23},
            "33 tokens asked, the context is 32: shorten the prompt or max_tokens",
        ),
        (
            {"prompt_tokens": [1] * 40, "max_tokens": 1},
            "41 tokens asked, the context is 32: shorten the prompt or max_tokens",
        ),
        ({"prompt": "a", "max_tokens": 4, "n": 2, "seeds": [1]}, "1 seeds given for 2 items: send one seed per item"),
    ],
)
def test_a_prompt_the_model_cannot_take_is_refused(text_model: Model, asked: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(message)):
        GENERATE.prepare(TransformerGenerateRequest.model_validate(asked), text_model)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "neither texts nor tokens given, 1 of the 2 expected"),
        ({"texts": ["a"], "tokens": [[1]]}, "texts and tokens both given, 1 of the 2 expected"),
        ({"texts": ["a", ""]}, "1 of 2 items cannot be run: 0 tokens given"),
        ({"tokens": [[300]]}, "token id 300 given, the vocabulary has the ids 0 to 299"),
        ({"tokens": [[1] * 32]}, "33 tokens asked, the context is 32: shorten the prompt or the text"),
        ({"prompt_tokens": [1] * 20, "tokens": [[1] * 13]}, "33 tokens asked, the context is 32"),
        ({"prompt": "", "texts": ["a"]}, "0 tokens given"),
    ],
)
def test_a_text_the_model_cannot_score_is_refused(text_model: Model, asked: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=re.escape(message)):
        SCORE.prepare(TransformerScoreRequest.model_validate(asked), text_model)


def test_a_bad_text_can_be_skipped(text_model: Model) -> None:
    request = TransformerScoreRequest(texts=["good", "", "x" * 100], on_error="skip")
    prepared = SCORE.prepare(request, text_model)
    assert (prepared.count, prepared.block.rows.tolist()) == (3, [0])
    assert {index: message.partition(":")[0] for index, message in prepared.refusals.items()} == {
        1: "0 tokens given, 1 or more expected",
        2: "101 tokens asked, the context is 32",
    }


def test_ids_beyond_the_vocabulary_have_no_text(text_model: Model) -> None:
    with pytest.raises(InvalidInput, match="token id 300 given, the vocabulary has the ids 0 to 299"):
        DETOKENIZE.prepare(TransformerDetokenizeRequest(tokens=[[1], [300]]), text_model)


@pytest.mark.parametrize("pipeline", FAMILY.pipelines, ids=lambda pipeline: pipeline.operation.name)
def test_a_model_of_another_family_is_refused(pipeline: Any) -> None:
    request = pipeline.operation.request.model_validate(pipeline.operation.example)
    with pytest.raises(InvalidInput, match="is a flow model, this operation needs one of family transformer"):
        pipeline.prepare(request, tiny.table_model())


# Refused by the contract


@pytest.mark.parametrize(
    "asked",
    [
        {"temperature": -0.1},
        {"temperature": 2.1},
        {"temperature": float("nan")},
        {"temperature": "hot"},
        {"top_p": 0},
        {"top_p": 1.1},
        {"top_k": 0},
        {"max_tokens": 0},
        {"stop": ["x"] * 1000},
        {"stop": [""]},
        {"stop": "x"},
        {"stop": ["\ud800"]},
        {"stop_tokens": [-1]},
        {"prompt": "\ud800"},
        {"prompt": "x" * 100_001},
        {"prompt_tokens": [-1]},
        {"prompt_tokens": [1.5]},
        {"prompt": 7},
        {"logprobs": 21},
        {"n": 0},
        {"temprature": 1},
    ],
    ids=str,
)
def test_what_the_contract_excludes_is_no_request(asked: dict[str, Any]) -> None:
    fields = {"prompt": "The people"} | asked
    with pytest.raises(ValidationError, match=next(iter(asked))):
        TransformerGenerateRequest.model_validate(fields)
    with pytest.raises(ValidationError):
        TransformerGenerateRequest.model_validate_json(json.dumps(fields), strict=True)


# How a text ends


def test_a_text_ends_after_max_tokens(text_model: Model) -> None:
    (item,) = generated(text_model)
    assert item["finish_reason"] == "length"
    assert item["usage"] == {"prompt_tokens": 3, "completion_tokens": 12}
    assert len(item["tokens"]) == len(item["log_probs_nats"]) == 12
    assert item["text"] == text_model.tokenizer.decode(item["tokens"])


def test_a_text_ends_before_a_stop_string_and_its_tokens_with_it(text_model: Model) -> None:
    tokenizer = text_model.tokenizer
    (whole,) = generated(text_model)
    before, stop = tokenizer.decode(whole["tokens"][:5]), tokenizer.decode(whole["tokens"][5:7])
    (item,) = generated(text_model, stop=["never", stop])
    cut = whole["text"].index(stop)
    assert (item["text"], item["finish_reason"]) == (whole["text"][:cut], "stop")
    assert item["tokens"] == whole["tokens"][: item["usage"]["completion_tokens"]]
    assert cut <= len(before)


def test_a_text_ends_with_a_stop_token_which_has_no_text(text_model: Model) -> None:
    (whole,) = generated(text_model)
    place = 4
    (item,) = generated(text_model, stop_tokens=[whole["tokens"][place]])
    end = whole["tokens"].index(whole["tokens"][place])
    assert item["tokens"] == whole["tokens"][: end + 1]
    assert item["text"] == text_model.tokenizer.decode(whole["tokens"][:end])
    assert item["finish_reason"] == "stop"


def test_a_text_ends_with_its_document(text_model: Model) -> None:
    # At temperature 2 the end of text, unlikely here, comes up sooner or later.
    items = generated(text_model, n=64, temperature=2.0, max_tokens=28)
    ended = [item for item in items if item["finish_reason"] == "end_of_text"]
    assert ended
    for item in items:
        end = tiny_text.PARAMS.end_of_text
        assert (item["tokens"][-1] == end) == (item["finish_reason"] == "end_of_text")
        assert end not in item["tokens"][:-1]


def test_alternatives_are_the_likeliest_tokens_of_each_place(text_model: Model) -> None:
    (greedy,) = generated(text_model, temperature=0, logprobs=3)
    for token, log_prob, best in zip(greedy["tokens"], greedy["log_probs_nats"], greedy["alternatives"], strict=True):
        assert best[0] == {"token": token, "log_prob_nats": log_prob}
        assert len(best) == 3
        assert sorted(best, key=lambda one: -one["log_prob_nats"]) == best
    (plain,) = generated(text_model, temperature=0)
    assert "alternatives" not in plain
    assert plain["tokens"] == greedy["tokens"]


# The stream


@pytest.mark.parametrize("asked", [{}, {"stop": ["e", "\N{REPLACEMENT CHARACTER}"]}, {"temperature": 2, "seed": 9}])
def test_the_pieces_of_a_stream_are_the_text_of_its_item(text_model: Model, asked: dict[str, Any]) -> None:
    (item,), chunks = generated(text_model, **asked), streamed(text_model, **asked)
    assert "".join(chunk["text"] for chunk in chunks) == item["text"]
    assert [chunk["token"] for chunk in chunks] == item["tokens"]
    assert [chunk["log_prob_nats"] for chunk in chunks] == item["log_probs_nats"].tolist()
    assert [chunk.get("finish_reason") for chunk in chunks] == [None] * (len(chunks) - 1) + [item["finish_reason"]]


# Tokens


@pytest.mark.parametrize("texts", [["The people", "", "naïve café — 😀", "\0\n", "<|end_of_text|>"]])
def test_tokens_of_a_text_are_its_own_and_give_it_back(text_model: Model, texts: Sequence[str]) -> None:
    tokens = [ids.tolist() for ids in answered(TOKENIZE, TransformerTokenizeRequest(texts=list(texts)), text_model)]
    assert tokens == [text_model.tokenizer.encode(text) for text in texts]
    assert answered(DETOKENIZE, TransformerDetokenizeRequest(tokens=tokens), text_model) == list(texts)


@pytest.mark.parametrize(
    ("pipeline", "request_"),
    [
        (DETOKENIZE, TransformerDetokenizeRequest(tokens=[[300], [301]], on_error="skip")),
        (SCORE, TransformerScoreRequest(tokens=[[300], [301]], on_error="skip")),
    ],
    ids=["detokenize", "score"],
)
def test_a_request_without_one_good_item_is_refused_even_if_it_skips(
    text_model: Model, pipeline: Any, request_: Any
) -> None:
    with pytest.raises(InvalidInput, match="2 of 2 items cannot be run: token id 300 given"):
        pipeline.prepare(request_, text_model)


def test_numbers_that_no_token_meets_do_not_travel(text_model: Model) -> None:
    request = asked_for({"top_k": 10**30, "stop_tokens": [7, 10**30]})
    writing = GENERATE.prepare(request, text_model).block.parameters
    assert isinstance(writing, Writing)
    assert (writing.top_k, writing.stop_tokens) == (tiny_text.VOCABULARY, (7, tiny_text.PARAMS.end_of_text))


def test_a_prompt_stands_once_in_a_block_and_costs_its_chunks(text_model: Model) -> None:
    block = GENERATE.prepare(asked_for({"prompt_tokens": [1] * 9, "n": 4, "max_tokens": 6}), text_model).block
    assert block.shared["prompt"].tolist() == [1] * 9
    assert (block.columns, block.work.tolist()) == ({}, [3 + 5] * 4)
    costs = {"prefill": CostCurve(1.0, 10.0), "decode": CostCurve(0.5, 0.25)}
    assert block.parameters.seconds(4, 32.0, costs) == 12 * 11.0 + 0.5 + 20 * 0.25


def test_texts_of_a_score_are_one_ragged_column(text_model: Model) -> None:
    block = SCORE.prepare(TransformerScoreRequest(prompt_tokens=[1] * 5, tokens=[[2, 3], [4]]), text_model).block
    assert [ids.tolist() for ids in block.columns["forced"]] == [[2, 3], [4]]
    assert block.work.tolist() == [3, 2]


def answered(pipeline: Any, request: Any, model: Model) -> list[Any]:
    """What needs no session is rendered as it was prepared: the one field."""
    assert pipeline.kind is None
    block = pipeline.prepare(request, model).block
    (field,) = pipeline.render(request, Results(block.rows, block.columns), model).values()
    return list(field)
