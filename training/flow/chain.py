"""How bijections compose: chains, squeezed images, and channels that are done early."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

Terms = tuple[Tensor, ...]


class Bijection(nn.Module):
    """An invertible map of [B, C, ...] onto the same shape.

    `forward` also returns, for each named layer inside, its log-determinant as a sum over entries: terms of the
    input's shape, at the place of the entry they belong to. Summing over everything gives log|det d y / d x|.
    """

    def names(self) -> tuple[str, ...]:
        """One name per tensor of terms; a single layer is named by the chain that holds it."""
        return ("",)

    def forward(self, x: Tensor) -> tuple[Tensor, Terms]:
        raise NotImplementedError

    def inverse(self, y: Tensor) -> Tensor:
        raise NotImplementedError


class Chain(Bijection):
    """Named bijections, one after the other. The layers inside one with the name "" keep their own names."""

    def __init__(self, layers: Mapping[str, Bijection]) -> None:
        super().__init__()
        self.labels = tuple(layers)
        self.layers = nn.ModuleList(layers.values())

    def names(self) -> tuple[str, ...]:
        pairs = zip(self.labels, self._bijections(), strict=True)
        return tuple(f"{label}/{name}".strip("/") for label, layer in pairs for name in layer.names())

    def forward(self, x: Tensor) -> tuple[Tensor, Terms]:
        collected: Terms = ()
        for layer in self._bijections():
            x, terms = layer(x)
            collected += terms
        return x, collected

    def inverse(self, y: Tensor) -> Tensor:
        for layer in reversed(self._bijections()):
            y = layer.inverse(y)
        return y

    def _bijections(self) -> list[Bijection]:
        return [layer for layer in self.layers if isinstance(layer, Bijection)]


class Squeezed(Bijection):
    """A bijection on the 2x2 pixel blocks of an image: [B, C, H, W] is seen as [B, 4C, H/2, W/2] inside."""

    def __init__(self, inner: Bijection) -> None:
        super().__init__()
        self.inner = inner

    def names(self) -> tuple[str, ...]:
        return self.inner.names()

    def forward(self, x: Tensor) -> tuple[Tensor, Terms]:
        y, terms = self.inner(functional.pixel_unshuffle(x, 2))
        return functional.pixel_shuffle(y, 2), tuple(functional.pixel_shuffle(term, 2) for term in terms)

    def inverse(self, y: Tensor) -> Tensor:
        return functional.pixel_shuffle(self.inner.inverse(functional.pixel_unshuffle(y, 2)), 2)


class FirstHalf(Bijection):
    """A bijection on the first half of the channels; the others are latents already.

    This is the multi-scale architecture of Dinh et al. 2017 (arXiv:1605.08803), section 3.6, without moving the
    latents that are factored out: they stay at their pixels.
    """

    def __init__(self, inner: Bijection) -> None:
        super().__init__()
        self.inner = inner

    def names(self) -> tuple[str, ...]:
        return self.inner.names()

    def forward(self, x: Tensor) -> tuple[Tensor, Terms]:
        kept, done = x.chunk(2, dim=1)
        y, terms = self.inner(kept)
        return torch.cat([y, done], dim=1), tuple(torch.cat([term, torch.zeros_like(done)], dim=1) for term in terms)

    def inverse(self, y: Tensor) -> Tensor:
        kept, done = y.chunk(2, dim=1)
        return torch.cat([self.inner.inverse(kept), done], dim=1)
