"""Logarithm and softplus from operators whose bits depend on nothing but the element: for exported graphs.

ONNX Runtime computes Log and Softplus with other instructions at the end of a tensor, and of every thread's part of
it. Padded rows (`training.export.row_stable`) help on one thread; sums, products and exponentials help on any number.
"""

import math

import torch
from torch import Tensor

ATANH_TERMS = 7  # 2 atanh(s) to 1e-8 for |s| <= 1/3
HALVINGS = (16, 8, 4, 2, 1)


def log(x: Tensor) -> Tensor:
    """The natural logarithm of x in [2^-32, 2^32): that of its power of two, and 2 atanh((m - 1) / (m + 1)) of the rest
    m in [1/2, 2).
    """
    exponent = torch.zeros_like(x)
    for power in HALVINGS:
        step = (x >= 2.0**power).to(x.dtype) - (x < 2.0**-power).to(x.dtype)
        x = torch.where(step > 0, x * 2.0**-power, torch.where(step < 0, x * 2.0**power, x))
        exponent = exponent + step * power
    return exponent * math.log(2) + _twice_atanh((x - 1) / (x + 1))


def softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x))."""
    return x.clamp(min=0) + _log_one_plus(torch.exp(-torch.abs(x)))


def log_add_exp(a: Tensor, b: Tensor) -> Tensor:
    """log(exp(a) + exp(b))."""
    return torch.maximum(a, b) + _log_one_plus(torch.exp(-torch.abs(a - b)))


def log_one_minus_exp(x: Tensor, log_x: Tensor) -> Tensor:
    """log(1 - exp(-x)) for x > 0, given log(x): the series of log(sinh(x / 2) / (x / 2)) below log 2, where 1 - exp
    would cancel.
    """
    fourth, tail = x**2 / 4, torch.exp(-x)
    near = log_x - x / 2 + fourth / 6 - fourth**2 / 180 + fourth**3 / 2835
    return torch.where(x < math.log(2), near, -_twice_atanh(tail / (2 - tail)))


def _log_one_plus(x: Tensor) -> Tensor:
    """log(1 + x) for x in [0, 1]."""
    return _twice_atanh(x / (2 + x))


def _twice_atanh(s: Tensor) -> Tensor:
    """2 atanh(s) = 2 (s + s^3 / 3 + s^5 / 5 + ...) for |s| <= 1/3."""
    square = s * s
    series = torch.full_like(s, 1 / (2 * ATANH_TERMS + 1))
    for term in reversed(range(ATANH_TERMS)):
        series = series * square + 1 / (2 * term + 1)
    return 2 * s * series
