"""The transformer: embedding, blocks of attention and MLP, unembedding; whole texts or with a cache."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.transformer.attention import Cache, KeyValue, Rotation, cached_attention, causal_attention

EPSILON = 1e-6


@dataclass(frozen=True)
class Shape:
    """The sizes of a transformer. `capacity` is the largest number of tokens of a text, its context."""

    capacity: int = 256
    width: int = 160
    layers: int = 4
    heads: int = 4
    kv_heads: int = 2
    head_size: int = 32
    hidden: int = 400


class Step(NamedTuple):
    """What the graphs return: logits [B, S, V], and the new tokens' keys and values [B, layers, kv_heads, S, D]."""

    logits: Tensor
    key: Tensor
    value: Tensor


class Transformer(nn.Module):
    """p(next token | tokens so far), as logits over a vocabulary of V tokens.

    RMSNorm (Zhang and Sennrich 2019, arXiv:1910.07467) before each half block, RoPE, query and key norms (Henry et al.
    2020, arXiv:2010.04245), SwiGLU (Shazeer 2020, arXiv:2002.05202), grouped-query attention; the unembedding is the
    transposed embedding.
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, vocabulary_size: int, shape: Shape) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, shape.width)
        self.enter, self.leave = (nn.RMSNorm(shape.width, EPSILON) for _ in range(2))
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        for name, table in Rotation.table(shape.capacity, shape.head_size)._asdict().items():
            self.register_buffer(name, table, persistent=False)
        # Small logits: the untrained model spreads its bets, and the first loss is near ln V.
        nn.init.normal_(self.embedding.weight, std=0.02)

    def forward(self, input_ids: Tensor, position: Tensor, past_key: Tensor, past_value: Tensor) -> Step:
        """S new tokens after a cache: the graphs.

        input_ids int64 [B, S]; position int64 [B], the tokens already in the cache; past_key, past_value float32
        [B, layers, kv_heads, capacity, D], of which only entries before `position` are looked at.
        """
        rotation = Rotation(self.cos, self.sin).at(position[:, None] + torch.arange(input_ids.shape[1]))
        seen = torch.arange(past_key.shape[3]) < position[:, None]  # (B, capacity)
        x, entries = self.enter(self.embedding(input_ids)), []
        for layer, block in enumerate(self.blocks):
            x, new = block(x, rotation, Cache(past_key[:, layer], past_value[:, layer], seen))
            entries.append(new)
        key, value = (torch.stack(side, dim=1) for side in zip(*entries, strict=True))
        return Step(self.logits(x), key, value)

    def read(self, input_ids: Tensor) -> Tensor:
        """Logits [B, S, V] of whole texts, input_ids int64 [B, S], S <= capacity; without a cache."""
        rotation = Rotation(self.cos[: input_ids.shape[1]], self.sin[: input_ids.shape[1]])
        x = self.enter(self.embedding(input_ids))
        for block in self.blocks:
            x, _ = block(x, rotation)
        return self.logits(x)

    def logits(self, x: Tensor) -> Tensor:
        """The unembedding of x [B, S, width]."""
        return functional.linear(self.leave(x), self.embedding.weight)


class Block(nn.Module):
    """Attention, then the MLP, each added to the residual stream x [B, S, width]; both start as the identity."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.attention_norm, self.mlp_norm = (nn.RMSNorm(shape.width, EPSILON) for _ in range(2))
        self.attention, self.mlp = Attention(shape), Mlp(shape)

    def forward(self, x: Tensor, rotation: Rotation, cache: Cache | None = None) -> tuple[Tensor, KeyValue]:
        mixed, new = self.attention(self.attention_norm(x), rotation, cache)
        x = x + mixed
        return x + self.mlp(self.mlp_norm(x)), new


class Attention(nn.Module):
    """Grouped-query attention; returns the new keys and values too."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.sizes = (shape.heads, shape.kv_heads, shape.kv_heads)
        self.head_size = shape.head_size
        self.qkv = nn.Linear(shape.width, sum(self.sizes) * shape.head_size, bias=False)
        self.query_norm, self.key_norm = (nn.RMSNorm(shape.head_size, EPSILON) for _ in range(2))
        self.out = _zero(nn.Linear(shape.heads * shape.head_size, shape.width, bias=False))

    def forward(self, x: Tensor, rotation: Rotation, cache: Cache | None) -> tuple[Tensor, KeyValue]:
        heads = self.qkv(x).unflatten(2, (-1, self.head_size)).transpose(1, 2)  # (B, heads + 2 kv_heads, S, D)
        query, key, value = heads.split(self.sizes, dim=1)
        query, new = rotation.turn(self.query_norm(query)), KeyValue(rotation.turn(self.key_norm(key)), value)
        mixed = causal_attention(query, new) if cache is None else cached_attention(query, new, cache)
        return self.out(mixed.transpose(1, 2).flatten(2)), new


class Mlp(nn.Module):
    """SwiGLU: down(silu(gate x) * up x)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate_up = nn.Linear(shape.width, 2 * shape.hidden, bias=False)
        self.down = _zero(nn.Linear(shape.hidden, shape.width, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up(x).chunk(2, dim=2)
        change: Tensor = self.down(functional.silu(gate) * up)
        return change


def _zero(layer: nn.Linear) -> nn.Linear:
    """A layer that starts at zero, so that its half block starts as the identity."""
    nn.init.zeros_(layer.weight)
    return layer
