"""Laws of text: the sampler's distribution, one log-probability per text, causality, and streams that lose nothing."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import tiny_text
from hypothesis import given, settings
from hypothesis import strategies as st

from fivefold.transformer import TransformerGenerateRequest, TransformerScoreRequest
from model_store.store import Model
from model_store.tokenizer import Tokenizer
from service.families.pipeline import Fields
from service.families.transformer import FAMILY
from service.families.transformer.choice import choose, scores_of
from service.families.transformer.sampling import Policies, candidates, draw, log_softmax, sample
from service.families.transformer.text_stream import TextStream
from service.families.transformer.writer import Writer
from service.families.transformer.writing import Writing
from service.jobs import Block, Range
from training.transformer.tokenizer import train_tokenizer

GENERATE, SCORE, *_ = FAMILY.pipelines
TOKENIZER = Tokenizer(train_tokenizer(tiny_text.PROSE, tiny_text.VOCABULARY))
BYTES = ((token, TOKENIZER.token_bytes(token)) for token in range(tiny_text.VOCABULARY))
BYTE = {data[0]: token for token, data in BYTES if len(data) == 1}
LOGITS = st.lists(st.floats(-20, 20, width=32), min_size=2, max_size=40).map(lambda x: np.array(x, np.float32))
TOKENS = st.lists(st.integers(0, tiny_text.VOCABULARY - 1), min_size=1, max_size=30)
ALPHABET = st.characters(exclude_categories=["Cs"]) | st.sampled_from("abé😀")
STOPS = st.lists(st.text(ALPHABET, min_size=1, max_size=4), max_size=3)


def shares(logits: np.ndarray, temperature: float, top_k: int | None = None, top_p: float = 1.0) -> np.ndarray:
    """The sampler's distribution over the whole vocabulary."""
    whole = np.zeros(len(logits))
    ids, probabilities = allowed(logits, temperature, top_k, top_p)
    whole[ids] = probabilities
    return whole


def allowed(
    logits: np.ndarray, temperature: float, top_k: int | None = None, top_p: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """The tokens of one row that may be drawn, and their probabilities."""
    policies = Policies(np.array([temperature]), np.array([top_k or 0]), np.array([top_p]))
    count = 0 if top_k is None and top_p == 1 else min(top_k or len(logits), len(logits))
    (ids,), (p,) = candidates(logits[None], policies, count)
    return ids[p > 0] if top_p < 1 else ids, p[p > 0] if top_p < 1 else p


def entropy_nats(p: np.ndarray) -> float:
    return float(-(p[p > 0] * np.log(p[p > 0])).sum())


# The sampler


@given(LOGITS)
def test_temperature_one_is_the_model_itself(logits: np.ndarray) -> None:
    p = shares(logits, 1.0)
    assert p.sum() == pytest.approx(1)
    np.testing.assert_allclose(p, np.exp(log_softmax(logits[None])[0]), rtol=1e-9, atol=1e-300)


@given(LOGITS)
def test_temperature_zero_is_the_likeliest_token_and_the_limit_of_low_temperatures(logits: np.ndarray) -> None:
    greedy = Policies(np.zeros(1), np.zeros(1, np.int64), np.ones(1))
    assert sample(logits[None], greedy, np.array([0.5])).tolist() == [int(np.argmax(logits))]
    best = logits == logits.max()
    np.testing.assert_allclose(shares(logits, 5e-324), best / best.sum())


@given(LOGITS, st.tuples(st.floats(0.05, 2), st.floats(0.05, 2)))
def test_entropy_rises_with_temperature(logits: np.ndarray, temperatures: tuple[float, float]) -> None:
    low, high = sorted(temperatures)
    assert entropy_nats(shares(logits, low)) <= entropy_nats(shares(logits, high)) + 1e-9


@given(LOGITS, st.integers(1, 50), st.floats(0.1, 2))
def test_top_k_keeps_the_k_likeliest_in_their_proportions(logits: np.ndarray, top_k: int, temperature: float) -> None:
    ids, p = allowed(logits, temperature, top_k)
    assert len(ids) == min(top_k, len(logits))
    others = np.delete(logits, ids)
    assert not others.size or logits[ids].min() >= others.max()
    whole = shares(logits, temperature)[ids]
    np.testing.assert_allclose(p, whole / whole.sum(), rtol=1e-9)


@given(LOGITS, st.floats(0.01, 0.999), st.integers(1, 50))
def test_top_p_keeps_the_fewest_that_hold_its_share_of_the_top_k(logits: np.ndarray, top_p: float, top_k: int) -> None:
    ids, _ = allowed(logits, 1.0, top_k, top_p)
    before, p = allowed(logits, 1.0, top_k)
    assert ids.tolist() == before[: len(ids)].tolist()
    assert p[: len(ids)].sum() >= top_p - 1e-12
    assert p[: len(ids) - 1].sum() < top_p


@given(LOGITS, st.floats(0, 1, exclude_min=True, exclude_max=True))
def test_what_is_drawn_has_a_probability(logits: np.ndarray, uniform: float) -> None:
    ids, p = allowed(logits, 0.1)
    assert p[draw(ids[None], p[None], np.array([uniform]))] > 0


def test_draws_have_the_frequencies_of_their_probabilities() -> None:
    ids, p = np.array([7, 3, 5]), np.array([0.5, 0.2, 0.3])
    drawn = draw(np.tile(ids, (1000, 1)), np.tile(p, (1000, 1)), (np.arange(1000) + 0.5) / 1000).tolist()
    assert [drawn.count(token) for token in (7, 3, 5)] == [500, 200, 300]


# The model through its session


def answer(model: Model, request: TransformerGenerateRequest | TransformerScoreRequest) -> list[Fields]:
    return tiny_text.answer(model, SCORE if isinstance(request, TransformerScoreRequest) else GENERATE, request)


def scored(model: Model, prompt: Sequence[int], tokens: Sequence[int]) -> list[float]:
    (item,) = answer(model, TransformerScoreRequest(prompt_tokens=list(prompt), tokens=[list(tokens)]))
    return item["log_probs_nats"].tolist()


IDS = np.random.default_rng(3).integers(1, tiny_text.VOCABULARY, 20).tolist()


def test_with_a_cache_is_as_without_to_1e_5(text_model: Model) -> None:
    logits = tiny_text.reference(IDS)
    wanted = [log_softmax(logits[[place]])[0, token] for place, token in enumerate(IDS[1:])]
    assert scored(text_model, IDS[:1], IDS[1:]) == pytest.approx(wanted, abs=1e-5)


def test_where_the_prompt_ends_changes_no_log_probability_beyond_1e_5(text_model: Model) -> None:
    whole = scored(text_model, IDS[:1], IDS[1:])
    for split in (3, 4, 5, 8, 17):
        assert scored(text_model, IDS[:split], IDS[split:]) == pytest.approx(whole[split - 1 :], abs=1e-5)


def test_the_future_changes_nothing_before_it(text_model: Model) -> None:
    other = [*IDS[:9], *reversed(IDS[9:])]
    before, after = scored(text_model, IDS[:2], IDS[2:]), scored(text_model, other[:2], other[2:])
    assert before[:7] == after[:7]
    assert before[7] != after[7]


@pytest.mark.parametrize("prompt", [IDS[:1], IDS[:4], IDS[:7]], ids=len)
def test_a_text_has_one_log_probability_whether_it_is_drawn_or_given(text_model: Model, prompt: list[int]) -> None:
    request = TransformerGenerateRequest(prompt_tokens=prompt, seed=4, n=3, max_tokens=12, temperature=1.3, top_k=50)
    for item in answer(text_model, request):
        assert scored(text_model, prompt, item["tokens"]) == item["log_probs_nats"].tolist()


def test_the_parts_of_a_score_agree(text_model: Model) -> None:
    (item,) = answer(text_model, TransformerScoreRequest(texts=["The people are naïve 😀"]))
    total, count = item["log_prob_nats"], len(item["tokens"])
    assert total == pytest.approx(sum(item["log_probs_nats"]))
    assert item["perplexity"] == pytest.approx(math.exp(-total / count))
    assert item["bits_per_byte"] == pytest.approx(-total / math.log(2) / len("The people are naïve 😀".encode()))


def test_without_a_prompt_a_text_is_the_beginning_of_a_document(text_model: Model) -> None:
    (item,) = answer(text_model, TransformerScoreRequest(tokens=[IDS]))
    assert item["log_probs_nats"].tolist() == scored(text_model, [tiny_text.PARAMS.end_of_text], IDS)


def test_greedy_is_the_likeliest_token_of_the_reference_at_every_place(text_model: Model) -> None:
    (item,) = answer(text_model, TransformerGenerateRequest(prompt_tokens=IDS[:5], temperature=0, max_tokens=20))
    text = [*IDS[:5], *item["tokens"]]
    assert np.argmax(tiny_text.reference(text)[4:-1], axis=1).tolist() == item["tokens"]


def test_a_draw_follows_its_seed_alone(text_model: Model) -> None:
    def tokens(**asked: object) -> list[list[int]]:
        request = TransformerGenerateRequest.model_validate({"prompt_tokens": IDS[:3], "max_tokens": 8, **asked})
        return [item["tokens"] for item in answer(text_model, request)]

    together = tokens(seed=10, n=5)
    assert len({tuple(text) for text in together}) == 5
    assert together == [text for seed in range(10, 15) for text in tokens(seed=seed)]
    assert tokens(seeds=[14, 10]) == [together[4], together[0]]


def test_first_tokens_have_the_frequencies_of_the_model(text_model: Model) -> None:
    request = TransformerGenerateRequest(prompt_tokens=IDS[:3], max_tokens=1, n=2000, seed=0, temperature=0.7)
    block = GENERATE.prepare(request, text_model).block
    logits, writers = tiny_text.reference(IDS[:3])[-1].astype(np.float32), writers_of(block, text_model)
    drawn = choose(writers, np.tile(logits, (len(writers), 1)))["token"]
    p, found = shares(logits, 0.7), np.bincount(drawn, minlength=tiny_text.VOCABULARY) / len(writers)
    assert np.abs(found - p).max() < 4 * math.sqrt(p.max() / len(writers))


def test_a_long_text_repeats_no_number(text_model: Model) -> None:
    block = Block(Writing(max_tokens=192), *np.array([[0], [5]]), np.ones(1), {}, {"prompt": np.array([1])})
    (writer,), tokens = writers_of(block, text_model), list[int]()
    flat = np.zeros((1, tiny_text.VOCABULARY), np.float32)
    while not writer.ended:
        chosen = choose([writer], flat)
        writer.write(int(chosen["token"][0]), scores_of(chosen, 0, 0))
        tokens.append(int(chosen["token"][0]))
    assert len(tokens) == 192
    assert len({tuple(tokens[start : start + 32]) for start in range(160)}) == 160


def writers_of(block: Block, model: Model) -> list[Writer]:
    return [Writer(Range("job", place, place + 1), block, place, model) for place in range(len(block))]


# The stream


def text_of(tokens: Sequence[int], stops: Sequence[str]) -> tuple[list[str], bool]:
    """The pieces of a stream, and whether a stop string ended it."""
    stream = TextStream(TOKENIZER, stops, ())
    *first, last = tokens
    return [*(stream.feed(token) for token in first), stream.feed(last, last=True)], stream.stopped


def cut(text: str, stops: Sequence[str]) -> str:
    """Up to the stop string that is complete first, the longest where several are."""
    for end in range(1, len(text) + 1):
        if found := [stop for stop in stops if text[:end].endswith(stop)]:
            return text[: end - max(map(len, found))]
    return text


@given(TOKENS)
def test_pieces_together_are_the_whole(tokens: list[int]) -> None:
    pieces, _ = text_of(tokens, [])
    assert "".join(pieces) == TOKENIZER.decode(tokens)


@given(st.text(ALPHABET, min_size=1))
def test_no_piece_of_a_text_holds_half_a_character(text: str) -> None:
    pieces, _ = text_of([BYTE[byte] for byte in text.encode()], [])
    assert "".join(pieces) == text
    assert [piece for piece in pieces if piece] == list(text)


@settings(max_examples=300)
@given(st.text(ALPHABET, min_size=1, max_size=30), STOPS, st.booleans())
def test_a_text_ends_before_its_stop_string_wherever_tokens_begin(text: str, stops: list[str], by_byte: bool) -> None:
    tokens = [BYTE[byte] for byte in text.encode()] if by_byte else TOKENIZER.encode(text)
    pieces, stopped = text_of(tokens, stops)
    assert "".join(pieces) == cut(text, stops)
    assert stopped == any(stop in text for stop in stops)


@given(st.text(ALPHABET, min_size=2, max_size=30), st.data())
def test_no_piece_leaks_the_beginning_of_a_stop_string(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text) - 1))
    stop = text[start : data.draw(st.integers(start + 1, len(text)))]
    tokens = [BYTE[byte] for byte in text.encode()]
    stream = TextStream(TOKENIZER, [stop], ())
    sent = ""
    for token in tokens:
        sent += stream.feed(token)
        assert text[: text.index(stop)].startswith(sent)
    assert stream.stopped


def test_a_stop_token_has_no_text_and_a_held_beginning_comes_at_the_end() -> None:
    stream = TextStream(TOKENIZER, ["abc"], [BYTE[ord("z")]])
    assert [stream.feed(BYTE[ord(letter)]) for letter in "xab"] == ["x", "", ""]
    assert stream.feed(BYTE[ord("z")], last=True) == "ab"
