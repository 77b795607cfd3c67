"""Attention with rotary positions: over a whole text at once, and over a cache of fixed capacity."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

BASE = 10_000.0  # of the rotations' wavelengths: Su et al. 2021, section 3.3


class Rotation(NamedTuple):
    """Cosines and sines of the angles position * BASE^(-2i / D), each float32 [..., S, D / 2]."""

    cos: Tensor
    sin: Tensor

    @classmethod
    def table(cls, capacity: int, head_size: int) -> "Rotation":
        """The rotations of positions 0 .. capacity - 1, constants of the graph: Sin and Cos are not row-stable."""
        wavelengths = BASE ** (-torch.arange(0, head_size, 2, dtype=torch.float64) / head_size)
        angles = torch.arange(capacity, dtype=torch.float64)[:, None] * wavelengths
        return cls(angles.cos().float(), angles.sin().float())

    def at(self, positions: Tensor) -> "Rotation":
        """The rotations of positions [B, S], for all heads: [B, 1, S, D / 2]."""
        return Rotation(*(functional.embedding(positions, table)[:, None] for table in self))

    def turn(self, x: Tensor) -> Tensor:
        """RoPE (Su et al. 2021, arXiv:2104.09864, eq. 34): entries (i, i + D / 2) of x [B, heads, S, D] are a plane."""
        first, second = x.chunk(2, dim=-1)
        return torch.cat((first * self.cos - second * self.sin, second * self.cos + first * self.sin), dim=-1)


class KeyValue(NamedTuple):
    """Rotated keys and values, each float32 [B, kv_heads, tokens, D]."""

    key: Tensor
    value: Tensor


class Cache(NamedTuple):
    """Keys and values of earlier tokens, [B, kv_heads, capacity, D]; `seen` (bool [B, capacity]) are filled."""

    key: Tensor
    value: Tensor
    seen: Tensor


def causal_attention(query: Tensor, new: KeyValue) -> Tensor:
    """softmax(q k^T / sqrt(D)) v over a whole text: token t sees tokens 0 .. t.

    query [B, heads, S, D]; heads / kv_heads neighbouring query heads share a key head (Ainslie et al. 2023,
    arXiv:2305.13245).
    """
    return functional.scaled_dot_product_attention(query, new.key, new.value, is_causal=True, enable_gqa=True)


def cached_attention(query: Tensor, new: KeyValue, cache: Cache) -> Tensor:
    """The same for S new tokens after a cache: token t sees what is filled of the cache, and the new tokens 0 .. t.

    The whole capacity is computed and then masked: the shapes, hence the bits of a row, do not depend on how much of
    the cache is filled.
    """
    (_, heads, tokens, size), kv_heads = query.shape, new.key.shape[1]
    group, capacity = heads // kv_heads, cache.key.shape[2]
    folded = query.reshape(-1, kv_heads, group * tokens, size) * size**-0.5
    later = torch.ones(tokens, tokens, dtype=torch.bool).triu(1).repeat(group, 1)  # (group S, S)
    old_scores = (folded @ cache.key.transpose(2, 3)).masked_fill(~cache.seen[:, None, None], -torch.inf)
    new_scores = (folded @ new.key.transpose(2, 3)).masked_fill(later, -torch.inf)
    weights = torch.cat((old_scores, new_scores), dim=3).softmax(dim=3)  # (B, kv_heads, group S, capacity + S)
    mixed = weights[..., :capacity] @ cache.value + weights[..., capacity:] @ new.value
    return mixed.reshape(-1, heads, tokens, size)
