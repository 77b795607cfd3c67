"""Coupling layers: half of the channels is transformed by numbers computed from the other half."""

import torch
from torch import Tensor, nn

from training.flow.chain import Bijection, Terms
from training.flow.spline import Spline


class Coupling(Bijection):
    """Half of the channels is transformed, entry by entry, with numbers computed from the other half.

    The Jacobian is triangular (Dinh et al. 2017, arXiv:1605.08803, equations 7 and 8). `conditioner` maps the
    unchanged half [B, A, ...] to [B, size * T, ...] for the T transformed channels. With `flipped` the first
    `channels // 2` channels are transformed, otherwise they are the unchanged ones.
    """

    size: int

    def __init__(self, channels: int, conditioner: nn.Module, flipped: bool) -> None:
        super().__init__()
        self.conditioner = conditioner
        self.sizes = [channels // 2, channels - channels // 2]
        self.flipped = flipped

    def forward(self, x: Tensor) -> tuple[Tensor, Terms]:
        unchanged, changed = self._split(x)
        changed, terms = self.transform(changed, self._coefficients(unchanged, changed))
        return self._join(unchanged, changed), (self._join(torch.zeros_like(unchanged), terms),)

    def inverse(self, y: Tensor) -> Tensor:
        unchanged, changed = self._split(y)
        return self._join(unchanged, self.restore(changed, self._coefficients(unchanged, changed)))

    def transform(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        """The image of x [B, T, ...] and the terms; `parameters` are [B, T, ..., size]."""
        raise NotImplementedError

    def restore(self, y: Tensor, parameters: Tensor) -> Tensor:
        """The x whose image is y."""
        raise NotImplementedError

    def _coefficients(self, unchanged: Tensor, changed: Tensor) -> Tensor:
        raw: Tensor = self.conditioner(unchanged)
        return raw.reshape(raw.shape[0], changed.shape[1], self.size, *raw.shape[2:]).movedim(2, -1)

    def _split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first, second = torch.split(x, self.sizes, dim=1)
        return (second, first) if self.flipped else (first, second)

    def _join(self, unchanged: Tensor, changed: Tensor) -> Tensor:
        return torch.cat([changed, unchanged] if self.flipped else [unchanged, changed], dim=1)


class AffineCoupling(Coupling):
    """y = x * exp(s) + t with |s| <= `limit`, so that no batch can make the scale explode."""

    size = 2
    limit = 2.0

    def transform(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        log_scale, shift = self._log_scale_and_shift(parameters)
        return x * torch.exp(log_scale) + shift, log_scale

    def restore(self, y: Tensor, parameters: Tensor) -> Tensor:
        log_scale, shift = self._log_scale_and_shift(parameters)
        return (y - shift) * torch.exp(-log_scale)

    def _log_scale_and_shift(self, parameters: Tensor) -> tuple[Tensor, Tensor]:
        raw, shift = parameters.unbind(-1)
        return self.limit * torch.tanh(raw / self.limit), shift


class SplineCoupling(Coupling):
    """A rational-quadratic spline per entry: Durkan et al. 2019 (arXiv:1906.04032), section 3.2."""

    def __init__(self, channels: int, conditioner: nn.Module, flipped: bool, bins: int, bound: float) -> None:
        super().__init__(channels, conditioner, flipped)
        self.size = 3 * bins - 1
        self.bound = bound

    def transform(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
        return Spline.from_parameters(parameters, self.bound)(x)

    def restore(self, y: Tensor, parameters: Tensor) -> Tensor:
        return Spline.from_parameters(parameters, self.bound).inverse(y)
