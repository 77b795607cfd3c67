"""One row's text: what is read of its prompt, what is written after it, and when it ends."""

import numpy as np

from model_store.manifest import TransformerParams
from model_store.store import Model
from service import rng
from service.arrays import Array
from service.families.pipeline import params_of
from service.families.transformer.sampling import Floats, candidates, draw, likeliest, log_softmax
from service.families.transformer.text_stream import TextStream
from service.jobs import Event, Row, RowId

SAMPLING_STREAM, BLOCK = 0, 64
FINISH_REASONS = ("stop", "length", "end_of_text")


class Writer:
    """A text that is read in chunks and then written token by token: tokens drawn by the row's seed, or `forced` ones.

    `position` counts the tokens in the cache. Every token is an event "step"; the last is followed by "done".
    """

    def __init__(self, row_id: RowId, row: Row, model: Model) -> None:
        self.id, self.position, self.prompt = row_id, 0, row.arrays["prompt"].tolist()
        self._forced: list[int] = row.arrays["forced"].tolist() if "forced" in row.arrays else []
        self._row, self._params = row, params_of(model, TransformerParams)
        self._text = TextStream(model.tokenizer, row.params["stop"], row.params["stop_tokens"])
        self._uniforms: list[float] = []
        self._tokens: list[int] = []
        self._scores: list[dict[str, Array]] = []

    @property
    def reading(self) -> bool:
        """True until the whole prompt is in the cache."""
        return self.position < len(self.prompt)

    @property
    def next_tokens(self) -> list[int]:
        """What the graph takes next: the prompt's next chunk, or the last token written."""
        return self.prompt[self.position : self.position + self._params.chunk] or self._tokens[-1:]

    @property
    def written(self) -> int:
        """How many tokens are written."""
        return len(self._tokens)

    def advance(self, logits: Array) -> list[Event]:
        """Take the logits [S, V] after `next_tokens`: the events of the token they give, once the prompt is read."""
        self.position += len(self.next_tokens)
        return [] if self.reading else self._write(logits[-1])

    def _write(self, logits: Array) -> list[Event]:
        place, token = self.written, self._choose(logits)
        self._tokens.append(token)
        self._scores.append(self._score(log_softmax(logits), token))
        self._text.feed(token)
        step = {"token": np.array(token), **self._scores[-1]}
        if (reason := self._end(token)) is None:
            return [Event(*self.id, place, "step", step)]
        end = {"finish": np.array(FINISH_REASONS.index(reason))}
        return [Event(*self.id, place, "step", step | end), Event(*self.id, place + 1, "done", self._result() | end)]

    def _choose(self, logits: Array) -> int:
        if self._forced:
            return self._forced[self.written]
        options = self._row.params
        ids, shares = candidates(logits, options["temperature"], options["top_k"], options["top_p"])
        return draw(ids, shares, self._uniform())

    def _uniform(self) -> float:
        """The next token's number, of a block: opening the generator costs more than drawing from it."""
        block, place = divmod(self.written, BLOCK)
        if place == 0:
            self._uniforms = rng.uniform(self._row.seed, SAMPLING_STREAM, block, (BLOCK,)).tolist()
        return self._uniforms[place]

    def _score(self, log_probs: Floats, token: int) -> dict[str, Array]:
        """The token's log-probability, and where they are asked for the likeliest tokens with theirs."""
        score = {"log_prob": np.array(log_probs[token])}
        if count := self._row.params["logprobs"]:
            best = likeliest(log_probs, count)
            score |= {"best_tokens": best, "best_log_probs": log_probs[best]}
        return score

    def _end(self, token: int) -> str | None:
        """Why the text ends with this token, if it does."""
        if token in self._row.params["stop_tokens"]:
            return "end_of_text" if token == self._params.end_of_text else "stop"
        if self._text.stopped:
            return "stop"
        return "length" if self.written == self._row.params["max_tokens"] else None

    def _result(self) -> dict[str, Array]:
        scores = {name: np.stack([score[name] for score in self._scores]) for name in self._scores[0]}
        return {"tokens": np.array(self._tokens), "prompt_tokens": np.array(len(self.prompt)), **scores}


def work(prompt_tokens: int, tokens: int, params: TransformerParams) -> int:
    """A text's evaluations: the prompt's chunks, the last of which gives the first token, then one for each token."""
    return -(-prompt_tokens // params.chunk) + tokens - 1
