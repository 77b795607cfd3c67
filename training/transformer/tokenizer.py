"""Trains the byte-level BPE tokenizer."""

from collections.abc import Iterable

import tokenizers
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer

END_OF_TEXT = 0
END_OF_TEXT_NAME = "<|end_of_text|>"


def train_tokenizer(texts: Iterable[str], vocabulary_size: int) -> bytes:
    """The tokenizer.json of a vocabulary of all 256 bytes, the end of text (id 0), and the commonest merges.

    The same texts give the same file.
    """
    tokenizer = tokenizers.Tokenizer(BPE())
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevelDecoder()
    trainer = BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=[END_OF_TEXT_NAME],
        initial_alphabet=ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer.to_str().encode()
