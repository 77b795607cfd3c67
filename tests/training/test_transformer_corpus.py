"""The corpus and its tokenizer: whole documents, exact tokens, windows that meet in one token."""

import struct
import zlib
from pathlib import Path

import pytest
import torch

from model_store.tokenizer import Tokenizer
from training.fetch import SEPARATOR, DataError, Folder, npm
from training.rdata import read_strings
from training.transformer.corpus import Corpus, corpus, tokens, toy_prose
from training.transformer.measure import text_bytes
from training.transformer.tokenizer import END_OF_TEXT, train_tokenizer

SAMPLE = (Path(__file__).parents[1] / "data" / "northanger_64k.txt").read_text()
WINDOW = 17


@pytest.fixture(scope="module")
def toy() -> Corpus:
    return corpus(toy_prose(), 320, WINDOW)


def test_no_document_is_in_two_parts(toy: Corpus) -> None:
    parts = (toy.documents.train, toy.documents.held_out, toy.documents.test)
    texts = [text for part in parts for text in part]
    assert len(set(texts)) == len(texts) == 30


def test_training_windows_start_at_every_token(toy: Corpus) -> None:
    (windows,) = toy.train
    assert torch.equal(windows[1:, :-1], windows[:-1, 1:])
    assert windows.untyped_storage().nbytes() < 2 * 8 * len(windows)  # a view of the tokens, not a copy per window


def test_test_windows_predict_every_token_once(toy: Corpus) -> None:
    (windows,) = toy.test
    assert torch.equal(windows[:-1, -1], windows[1:, 0])
    whole = tokens(toy.documents.test, Tokenizer(toy.tokenizer))
    assert torch.equal(windows[:, 1:].flatten(), whole[1 : 1 + windows[:, 1:].numel()])


def test_the_bytes_of_test_windows_are_those_of_the_text(toy: Corpus) -> None:
    data = text_bytes(toy.test[0], Tokenizer(toy.tokenizer))
    assert data in toy.documents.test[0].encode()
    assert len(data) > 0.95 * len(toy.documents.test[0])


def test_each_document_ends_with_the_end_of_text(toy: Corpus) -> None:
    ids = tokens(("one", "two"), tokenizer := Tokenizer(toy.tokenizer)).tolist()
    assert ids == [*tokenizer.encode("one"), END_OF_TEXT, *tokenizer.encode("two"), END_OF_TEXT]


def test_the_same_texts_give_the_same_tokenizer_and_other_texts_another() -> None:
    first, again, other = (train_tokenizer(texts, 400) for texts in ([SAMPLE], [SAMPLE], [SAMPLE[:9999]]))
    assert first == again != other


def test_real_prose_comes_back_from_its_tokens_and_is_a_third_as_long() -> None:
    tokenizer = Tokenizer(train_tokenizer([SAMPLE], 2000))
    ids = tokenizer.encode(SAMPLE)
    assert tokenizer.vocabulary_size == 2000
    assert tokenizer.decode(ids) == SAMPLE
    assert END_OF_TEXT not in ids
    assert len(ids) < len(SAMPLE.encode()) / 3


def test_the_committed_sample_is_64_kilobytes_of_northanger_abbey() -> None:
    assert len(SAMPLE.encode()) == 65_536
    assert SAMPLE.startswith("NORTHANGER ABBEY")


def database(*vectors: list[bytes]) -> bytes:
    """A lazy-load database with character vectors, as R writes it."""
    header = b"X\n" + struct.pack(">iii", 3, 0x40200, 0x30500) + struct.pack(">i", 5) + b"UTF-8"
    blocks = []
    for vector in vectors:
        strings = b"".join(struct.pack(">ii", 0x8009, len(text)) + text for text in vector)
        content = header + struct.pack(">ii", 16, len(vector)) + strings
        blocks.append(struct.pack(">i", len(content)) + zlib.compress(content))
    return b"".join(blocks)


def test_the_strings_of_an_r_database_are_read_in_order() -> None:
    assert list(read_strings(database([b"Emma", b""], ["café".encode()]))) == [["Emma", ""], ["café"]]


def test_a_folder_is_read_by_name_and_checked_as_one(tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    for name, text in {"b.txt": b"two", "a.txt": b"one", "a.json": b"{}"}.items():
        (folder / name).write_bytes(text)
    member = Folder("package/texts", bytes, "0" * 64, suffix=".txt")
    assert member.content(folder) == b"one" + SEPARATOR + b"two"
    with pytest.raises(DataError, match=f"expected {'0' * 64}: delete it to fetch it again"):
        member.read(tmp_path)


def test_an_npm_package_is_packed_and_not_installed() -> None:
    archive = npm("@scope/name@1.0.0", "scope-name-1.0.0.tgz", "0" * 64)
    assert archive.fetch == ("npm", "pack", "@scope/name@1.0.0")
