"""Logarithm and softplus for exported graphs: as exact as float32, and the same bits on any number of threads."""

import math

import pytest
import torch
from torch import Tensor, nn

from training.checks import runner
from training.export import GraphSource
from training.stable import log, log_add_exp, log_one_minus_exp, softplus


def test_log_is_the_logarithm_over_its_range() -> None:
    x = torch.logspace(-32, 31.9, 20_001, base=2)
    torch.testing.assert_close(log(x).double(), x.double().log(), rtol=3e-7, atol=3e-7)


def test_log_of_powers_of_two_is_a_multiple_of_log_two() -> None:
    powers = torch.arange(-32, 32)
    torch.testing.assert_close(log(2.0**powers), powers * math.log(2), rtol=2e-7, atol=0)


def test_softplus_and_log_add_exp_agree_with_torch() -> None:
    x = torch.linspace(-80, 80, 20_001)
    torch.testing.assert_close(softplus(x).double(), torch.nn.functional.softplus(x.double(), threshold=100))
    torch.testing.assert_close(log_add_exp(x, x.flip(0)).double(), torch.logaddexp(x.double(), x.flip(0).double()))


def test_log_one_minus_exp_does_not_cancel() -> None:
    x = torch.logspace(-12, 2, 20_001, dtype=torch.float64)
    wanted = torch.log(-torch.expm1(-x))
    torch.testing.assert_close(log_one_minus_exp(x.float(), x.log().float()).double(), wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("function", [log, softplus])
def test_gradients_are_finite_and_right(function: object) -> None:
    assert callable(function)
    x = torch.tensor([1e-6, 0.3, 0.5, 1.0, 2.0, 1e4], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(function(x).sum(), x)
    wanted = 1 / x if function is log else torch.sigmoid(x)
    torch.testing.assert_close(gradient, wanted.detach(), rtol=1e-6, atol=1e-9)


class Both(nn.Module):
    """An odd number of columns, for which the runtime's own operators differ between batches."""

    def forward(self, x: Tensor) -> Tensor:
        return log(x) + softplus(x)


def test_an_exported_graph_has_the_same_bits_in_large_batches_on_several_threads() -> None:
    def example(batch: int) -> dict[str, Tensor]:
        return {"x": torch.rand(batch, 3, 785, generator=torch.Generator().manual_seed(7)) + 0.01}

    exported = GraphSource("both", Both(), example, ("y",), atol=1e-5).onnx()
    x = example(64)["x"].numpy()
    one, two = (runner(exported.data, exported.spec, threads)({"x": x})["y"] for threads in (1, 2))
    alone = runner(exported.data, exported.spec)({"x": x[40:41]})["y"]
    assert one.tobytes() == two.tobytes()
    assert one[40:41].tobytes() == alone.tobytes()
