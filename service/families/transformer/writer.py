"""One row's text: what is read of its prompt, what is written after it, and when it ends."""

import numpy as np

from model_store.manifest import TransformerParams
from model_store.store import Model
from service.arrays import Arrays
from service.families.pipeline import params_of
from service.families.session import parameters_of
from service.families.transformer.text_stream import TextStream
from service.families.transformer.writing import Writing
from service.jobs import Block, Failure, Floats, Range

FINISH_REASONS = ("stop", "length", "end_of_text")


class Writer:
    """A text that is read in chunks and then written token by token: tokens drawn by the row's seed, or `forced` ones.

    `place` is its range in the job's block, `row` its place in the request; `arrival` rises in the order in which rows
    came. `position` counts the tokens in the cache. `reason` says why the text has ended, once it has, or `failure`.
    """

    def __init__(self, place: Range, block: Block, arrival: int, model: Model) -> None:
        self.place, self.row, self.arrival = place, int(block.rows[place.start]), arrival
        self.seed, self.writing = int(block.seeds[place.start]), parameters_of(block, Writing)
        self.prompt: list[int] = block.shared["prompt"].tolist()
        self.forced: list[int] = block.columns["forced"][place.start].tolist() if "forced" in block.columns else []
        self.position, self.tokens, self.reason = 0, list[int](), ""
        self.uniforms: Floats = np.empty(0)
        self.failure: Failure | None = None
        self._params = params_of(model, TransformerParams)
        self._text = TextStream(model.tokenizer, self.writing.stop, self.writing.stop_tokens)
        self._scores: list[Arrays] = []

    @property
    def reading(self) -> bool:
        """True until the whole prompt is in the cache."""
        return self.position < len(self.prompt)

    @property
    def next_tokens(self) -> list[int]:
        """What the graph takes next: the prompt's next chunk, or the last token written."""
        return self.prompt[self.position : self.position + self._params.chunk] or self.tokens[-1:]

    @property
    def writes_next(self) -> bool:
        """True where the prompt is read with `next_tokens`: a token follows."""
        return self.position + self._params.chunk >= len(self.prompt)

    @property
    def draws(self) -> bool:
        """True where the next token takes a random number."""
        return not self.forced and self.writing.temperature > 0

    @property
    def ended(self) -> bool:
        return self.failure is not None or bool(self.reason)

    def write(self, token: int, score: Arrays) -> None:
        """Add a token with its `log_prob`, and with the likeliest tokens where they are asked for."""
        if self.writing.stop:
            self._text.feed(token)
        self.tokens.append(token)
        self._scores.append(score)
        self.reason = self._end(token)

    def _end(self, token: int) -> str:
        if token in self.writing.stop_tokens:
            return "end_of_text" if token == self._params.end_of_text else "stop"
        if self._text.stopped:
            return "stop"
        return "length" if len(self.tokens) == (len(self.forced) or self.writing.max_tokens) else ""

    def result(self) -> Arrays:
        """The tokens [S] and their scores [S, ...]."""
        scores = {name: np.stack([score[name] for score in self._scores]) for name in self._scores[0]}
        return {"tokens": np.array(self.tokens), **scores}
