"""The two graphs of a transformer, run as the service runs them: prompts on the chunk grid, then token by token."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model_store.manifest import TransformerParams
from training.checks import Arrays, Runner, runner
from training.export import Exported, GraphSource
from training.transformer.model import Step, Transformer

ATOL = 1e-4

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Examples:
    """Inputs of the graphs: random tokens after random caches, filled up to positions all over the grid.

    Caches hold multiples of 1/4, so that golden files stay small.
    """

    params: TransformerParams
    tokens: int

    def __call__(self, count: int) -> dict[str, Tensor]:
        p, random = self.params, torch.Generator().manual_seed(count)
        chunks = (torch.arange(count) * 5 + 3) % (p.capacity // p.chunk)
        inside = torch.arange(count) * 3 % p.chunk if self.tokens == 1 else 0
        cache = (count, p.layers, p.kv_heads, p.capacity, p.head_size)
        return {
            "input_ids": torch.randint(p.vocabulary_size, (count, self.tokens), generator=random),
            "position": chunks * p.chunk + inside,
            "past_key": torch.randint(-8, 9, cache, generator=random) / 4,
            "past_value": torch.randint(-8, 9, cache, generator=random) / 4,
        }


def export(model: Transformer, params: TransformerParams) -> dict[str, Exported]:
    """`prefill` takes `chunk` tokens per row, `decode` one. Raises ExportRefused."""
    return {
        name: GraphSource(name, model, Examples(params, tokens), Step._fields, ATOL).onnx()
        for name, tokens in (("prefill", params.chunk), ("decode", 1))
    }


class CachedTransformer:
    """Both graphs and the cache of one text at a time."""

    def __init__(self, graphs: dict[str, Exported], params: TransformerParams) -> None:
        self.params = params
        self._prefill, self._decode = (runner(graphs[name].data, graphs[name].spec) for name in ("prefill", "decode"))

    def generate(self, prompt: list[int], temperature: float, random: np.random.Generator) -> Iterator[int]:
        """Tokens after a prompt, until the context is full; at temperature 0 the likeliest.

        p(token) = softmax(logits / temperature), drawn by the Gumbel-max trick.
        """
        cache = _Cache(self.params)
        logits = self._read(prompt, cache)
        while True:
            noise = random.gumbel(size=logits.shape) if temperature else 0.0
            token = int(np.argmax(logits + temperature * noise))
            yield token
            if cache.position == self.params.capacity:
                return
            logits = cache.run(self._decode, [token], 1)[-1]

    def _read(self, prompt: list[int], cache: "_Cache") -> Floats:
        for start in range(0, len(prompt), self.params.chunk):
            part = prompt[start : start + self.params.chunk]
            padding = self.params.chunk - len(part)
            logits: Floats = cache.run(self._prefill, [*part, *(self.params.end_of_text,) * padding], len(part))[-1]
        return logits


class _Cache:
    """Keys and values [1, layers, kv_heads, capacity, D], of which `position` are filled."""

    def __init__(self, params: TransformerParams) -> None:
        shape = (1, params.layers, params.kv_heads, params.capacity, params.head_size)
        self.key, self.value = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        self.position = 0

    def run(self, graph: Runner, ids: Iterable[int], kept: int) -> Floats:
        """The logits [kept, V] of the first `kept` ids, the others being padding."""
        outputs = {name: array.astype(np.float32) for name, array in graph(self.inputs(ids)).items()}
        places = slice(self.position, self.position + kept)
        self.key[..., places, :] = outputs["key"][..., :kept, :]
        self.value[..., places, :] = outputs["value"][..., :kept, :]
        self.position += kept
        return outputs["logits"][0, :kept]

    def inputs(self, ids: Iterable[int]) -> Arrays:
        """The inputs of either graph."""
        return {
            "input_ids": np.array([list(ids)]),
            "position": np.array([self.position]),
            "past_key": self.key,
            "past_value": self.value,
        }


@torch.no_grad()
def greedy(model: Transformer, prompt: list[int], count: int) -> list[int]:
    """`count` likeliest tokens, each from the whole text again: what the graphs must repeat with their cache."""
    ids = list(prompt)
    for _ in range(count):
        ids.append(int(model.read(torch.tensor([ids]))[0, -1].argmax()))
    return ids[len(prompt) :]
