"""Tokens -> the text that is certain: whole characters, and nothing of a stop string."""

import codecs
from collections.abc import Collection

from model_store.tokenizer import Tokenizer


class TextStream:
    """The text of one row as its tokens arrive, up to the first stop string.

    The stop string that is complete first ends the text, wherever tokens begin and end in it; of several that are
    complete at once, the longest.
    """

    def __init__(self, tokenizer: Tokenizer, stops: Collection[str], stop_tokens: Collection[int]) -> None:
        self._tokenizer, self._stops, self._stop_tokens = tokenizer, stops, stop_tokens
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self.stopped = False

    def feed(self, token: int, *, last: bool = False) -> str:
        """The text that became certain with this token. A stop token has no text. `last`: none will follow."""
        if self.stopped:
            return ""
        data = b"" if token in self._stop_tokens else self._tokenizer.token_bytes(token)
        self._held += self._decoder.decode(data, final=last)
        certain = self._before_stop()
        if certain is None:
            certain = self._held if last else self._held[: len(self._held) - self._doubtful()]
            self._held = self._held[len(certain) :]
        return certain

    def _before_stop(self) -> str | None:
        """What stands before the stop string, if one is complete."""
        ends = ((self._held.find(stop) + len(stop), -len(stop)) for stop in self._stops if stop in self._held)
        if (first := min(ends, default=None)) is None:
            return None
        self.stopped = True
        return self._held[: sum(first)]

    def _doubtful(self) -> int:
        """How many characters at the end may be the beginning of a stop string."""
        lengths = (
            length for stop in self._stops for length in range(1, len(stop)) if self._held.endswith(stop[:length])
        )
        return max(lengths, default=0)
