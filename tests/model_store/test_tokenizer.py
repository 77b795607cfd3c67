"""The tokenizer: any text comes back, every byte has a token, special tokens are no text."""

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer

from model_store.tokenizer import Tokenizer

END = "<|end_of_text|>"
PROSE = ["The people of the union. Naïve, café — 😀!\n\n  No 1234 letters\t."] * 3


def file(texts: list[str]) -> bytes:
    tokenizer = tokenizers.Tokenizer(BPE())
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    trainer = BpeTrainer(
        vocab_size=300, special_tokens=[END], initial_alphabet=ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer.to_str().encode()


TOKENIZER = Tokenizer(file(PROSE))


@given(st.text())
def test_any_text_comes_back_as_it_was(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text


@given(st.text())
def test_the_bytes_of_the_tokens_are_the_bytes_of_the_text(text: str) -> None:
    assert b"".join(map(TOKENIZER.token_bytes, TOKENIZER.encode(text))) == text.encode()


@given(st.lists(st.integers(0, 299)), st.text())
def test_any_ids_decode_to_some_text_and_harm_none_that_follows(ids: list[int], text: str) -> None:
    assert TOKENIZER.decode([*ids, *TOKENIZER.encode("!" + text)]).endswith("!" + text)


def test_every_byte_has_a_token_of_its_own() -> None:
    pieces = [TOKENIZER.token_bytes(token) for token in range(TOKENIZER.vocabulary_size)]
    assert {bytes([byte]) for byte in range(256)} <= set(pieces)
    assert len(set(pieces)) == len(pieces) == 300


def test_the_special_token_has_no_bytes_and_no_text_encodes_to_it() -> None:
    special = next(token for token in range(300) if TOKENIZER.token_bytes(token) == b"")
    assert special == 0
    assert special not in TOKENIZER.encode(f"before {END} after")
    assert TOKENIZER.decode(TOKENIZER.encode(END)) == END


def test_half_a_character_decodes_to_the_replacement_character() -> None:
    half = next(token for token in range(300) if TOKENIZER.token_bytes(token) == "é".encode()[:1])
    assert TOKENIZER.decode([half]) == "\N{REPLACEMENT CHARACTER}"


def test_merges_shorten_the_text_they_were_made_for() -> None:
    assert len(TOKENIZER.encode(PROSE[0])) < len(PROSE[0].encode())


@pytest.mark.parametrize("token", [-1, 300])
def test_an_id_beyond_the_vocabulary_is_refused_with_both_numbers(token: int) -> None:
    with pytest.raises(ValueError, match=f"token id {token} given, the vocabulary has the ids 0 to 299"):
        TOKENIZER.token_bytes(token)


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(ValueError, match="surrogates not allowed"):
        TOKENIZER.encode("\ud800")


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff"])
def test_bytes_that_are_no_tokenizer_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Tokenizer(data)
