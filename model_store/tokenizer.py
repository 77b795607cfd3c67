"""The tokenizer file: text to token ids, ids to text, and the exact bytes of one token."""

from collections.abc import Iterable

import tokenizers
from tokenizers.pre_tokenizers import ByteLevel

TOKENIZER = "tokenizer.json"


class Tokenizer:
    """A byte-level BPE (Sennrich et al. 2016, arXiv:1508.07909; Radford et al. 2019): every byte has a token.

    Any text can be encoded, and comes back as it was. Special tokens have no bytes, and no text encodes to them.
    """

    def __init__(self, data: bytes) -> None:
        """`data` is a tokenizer.json of the library `tokenizers`. Raises ValueError where it is not."""
        self._tokenizer: tokenizers.Tokenizer = tokenizers.Tokenizer.from_buffer(data)
        # What a user writes is text: "<|end_of_text|>" too.
        self._tokenizer.encode_special_tokens = True
        vocabulary, special = self._tokenizer.get_vocab(), self._tokenizer.get_added_tokens_decoder()
        byte = _byte_by_character()
        texts = ("" if vocabulary[text] in special else text for text in sorted(vocabulary, key=vocabulary.__getitem__))
        self._bytes = [bytes(byte[character] for character in text) for text in texts]

    @property
    def vocabulary_size(self) -> int:
        """Ids are 0 .. vocabulary_size - 1."""
        return len(self._bytes)

    def encode(self, text: str) -> list[int]:
        """The ids of a text. Raises ValueError where it is not Unicode: a lone surrogate."""
        text.encode()  # UnicodeEncodeError is a ValueError and says where
        # A batch of one: unlike `encode`, it lets other threads run meanwhile.
        return list(self._tokenizer.encode_batch_fast([text], add_special_tokens=False)[0].ids)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of the ids. Bytes that are not UTF-8, such as half a character, become U+FFFD."""
        return b"".join(map(self.token_bytes, ids)).decode("utf-8", errors="replace")

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes that a token stands for; none for special tokens. Raises ValueError for an id beyond the end."""
        if not 0 <= token_id < self.vocabulary_size:
            raise ValueError(f"token id {token_id} given, the vocabulary has the ids 0 to {self.vocabulary_size - 1}")
        return self._bytes[token_id]


def _byte_by_character() -> dict[str, int]:
    """The byte that a character of a byte-level token stands for.

    Printable Latin-1 characters stand for themselves, the characters from U+0100 on for the other bytes, in order.
    """
    alphabet = sorted(ByteLevel.alphabet())
    plain = [character for character in alphabet if ord(character) < 256]
    others = (byte for byte in range(256) if chr(byte) not in plain)
    return {character: ord(character) for character in plain} | dict(zip(alphabet[len(plain) :], others, strict=True))
