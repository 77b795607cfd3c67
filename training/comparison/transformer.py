"""A transformer, compared: bits per byte and perplexity of whole windows of test text, read by its prefill graph."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from model_store.manifest import TransformerParams
from model_store.store import Model
from training.checks import Runner
from training.comparison.estimate import Floats, mean, ratio
from training.comparison.sets import Sets
from training.comparison.subject import Family, Likelihood, Subject, Timed
from training.transformer.corpus import tokens

BATCH = 8  # windows at a time


class TransformerSubject(Subject):
    family = Family(
        name="transformer",
        likelihood="exact, token by token",
        posterior="no latents",
        answers="text after a prompt, as it is written; the probability of every token of a text",
        cannot="revise what it wrote; look beyond its context",
    )

    def __init__(self, model: Model, params: TransformerParams) -> None:
        super().__init__(model, "text")
        self.params = params

    @property
    def timed(self) -> tuple[Timed, ...]:
        return Timed("generate", self.item, ("decode",)), Timed("score", self.item, ("prefill",), 1 / self.params.chunk)

    def likelihood(self, sets: Sets, seed: int) -> tuple[Likelihood, ...]:
        windows = self._windows(sets)
        nats, lengths = self._nats(windows), self._lengths()[windows[:, 1:]]
        bits_per_byte = ratio(nats.sum(axis=1) / math.log(2), lengths.sum(axis=1))
        perplexity, over = mean(nats.mean(axis=1)).exponential(), f"{nats.size} {self.item}s"
        return (
            Likelihood("-log2 p(text)", "exact", "bits/byte", bits_per_byte, over),
            Likelihood("perplexity", "exact", "per token", perplexity, over),
        )

    def _windows(self, sets: Sets) -> NDArray[np.int64]:
        """Windows [N, capacity + 1] of the test text; neighbours share a token, so each is predicted once."""
        width = self.params.capacity + 1
        windows: NDArray[np.int64] = (
            tokens(sets.documents.test, self.model.tokenizer).unfold(0, width, width - 1).numpy()
        )
        return windows

    def _lengths(self) -> NDArray[np.int64]:
        """The bytes [V] that each token stands for."""
        tokenizer = self.model.tokenizer
        return np.array([len(tokenizer.token_bytes(token)) for token in range(tokenizer.vocabulary_size)])

    def _nats(self, windows: NDArray[np.int64]) -> Floats:
        """-log p of the tokens after the first of each window: [N, capacity]."""
        run = self.runner("prefill")
        parts = (windows[start : start + BATCH] for start in range(0, len(windows), BATCH))
        return np.concatenate([self._read(run, part) for part in parts])

    def _read(self, prefill: Runner, windows: NDArray[np.int64]) -> Floats:
        """The same of a few windows, chunk by chunk after a growing cache."""
        p, count = self.params, len(windows)
        past = {name: np.zeros(self._cache(count), np.float32) for name in ("past_key", "past_value")}
        nats = []
        for start in range(0, p.capacity, p.chunk):
            places = slice(start, start + p.chunk)
            found = prefill({"input_ids": windows[:, places], "position": np.full(count, start), **past})
            past["past_key"][..., places, :] = found["key"]
            past["past_value"][..., places, :] = found["value"]
            nats.append(_surprise(found["logits"].astype(np.float64), windows[:, start + 1 : start + 1 + p.chunk]))
        return np.concatenate(nats, axis=1)

    def _cache(self, count: int) -> tuple[int, ...]:
        p = self.params
        return count, p.layers, p.kv_heads, p.capacity, p.head_size


def _surprise(logits: Floats, following: NDArray[np.int64]) -> Floats:
    """-log softmax(logits [N, S, V]) at the tokens [N, S] that follow: [N, S]."""
    chosen = np.take_along_axis(logits, following[..., None], axis=-1)[..., 0]
    nats: Floats = logsumexp(logits, axis=-1) - chosen
    return nats
