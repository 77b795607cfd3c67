"""Laws of normalizing flows: change of variables, bijectivity, normalisation, and zuko as an oracle."""

import pytest
import torch
import zuko
from torch import Tensor
from torch.distributions import Transform
from torch.distributions.transforms import AffineTransform
from zuko.transforms import DependentTransform

from training.flow.chain import Bijection, Chain
from training.flow.coupling import SplineCoupling
from training.flow.graphs import Forward
from training.flow.model import ImageShape, TableShape, fixed, image_flow, spline_flow
from training.flow.objective import (
    base_terms_nats,
    bits_per_dim,
    cell_log_volume_nats,
    dequantise,
    log_prob_nats,
    quantise,
)
from training.flow.spline import Spline
from training.flow.transforms import ActNorm, Affine, Asinh, Mixing

COLUMNS = 5
IMAGE = (1, 8, 8)


def awake(flow: Chain, first_batch: Tensor) -> Chain:
    """The flow after its first batch, with random numbers in place of the zeros it begins with."""
    flow.double()
    with torch.no_grad():
        flow(first_batch)
        for parameter in flow.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return flow.requires_grad_(False)


@pytest.fixture
def rows() -> Tensor:
    torch.manual_seed(1)
    return torch.round(torch.randn(64, COLUMNS, dtype=torch.float64).exp() * 20)


@pytest.fixture
def table(rows: Tensor) -> Chain:
    torch.manual_seed(2)
    return awake(spline_flow(rows, TableShape(steps=3, hidden=8, bins=4)), rows)


@pytest.fixture
def pictures() -> Tensor:
    torch.manual_seed(3)
    return torch.rand(16, *IMAGE, dtype=torch.float64)


@pytest.fixture
def image(pictures: Tensor) -> Chain:
    torch.manual_seed(4)
    return awake(image_flow(1, 8, ImageShape(steps=(2, 2), hidden=(4, 6))), pictures)


@pytest.mark.parametrize(("flow", "batch"), [("table", "rows"), ("image", "pictures")])
class TestEveryFlow:
    @pytest.fixture(autouse=True)
    def _request(self, request: pytest.FixtureRequest, flow: str, batch: str) -> None:
        self.flow: Chain = request.getfixturevalue(flow)
        self.x: Tensor = request.getfixturevalue(batch)[:4]

    def test_log_prob_is_the_change_of_variables_with_the_jacobian_of_autograd(self) -> None:
        z, _ = self.flow(self.x)
        size = self.x[0].numel()
        jacobians = [torch.autograd.functional.jacobian(lambda x: self.flow(x)[0], row[None]) for row in self.x]
        log_dets = torch.linalg.slogdet(torch.stack(jacobians).reshape(len(self.x), size, size))[1]
        wanted = base_terms_nats(z).flatten(1).sum(1) + log_dets
        torch.testing.assert_close(log_prob_nats(self.flow, self.x, None), wanted, rtol=1e-10, atol=1e-8)

    def test_the_inverse_undoes_the_flow(self) -> None:
        z, _ = self.flow(self.x)
        torch.testing.assert_close(self.flow.inverse(z), self.x, rtol=1e-9, atol=1e-9)

    def test_the_flow_undoes_the_inverse(self) -> None:
        z = torch.randn_like(self.x)
        torch.testing.assert_close(self.flow(self.flow.inverse(z))[0], z, rtol=1e-8, atol=1e-8)

    def test_layers_and_entries_each_add_up_to_log_prob(self) -> None:
        scored = Forward(self.flow, None)(self.x, torch.zeros_like(self.x))
        torch.testing.assert_close(scored.base_log_prob + scored.log_dets.sum(1), scored.log_prob)
        torch.testing.assert_close(scored.terms.flatten(1).sum(1), scored.log_prob)
        torch.testing.assert_close(scored.log_prob, log_prob_nats(self.flow, scored.dequantised, None))

    def test_constants_in_place_of_matrices_change_nothing(self) -> None:
        z, _ = self.flow(self.x)
        before = log_prob_nats(self.flow, self.x, None)
        constant = fixed(self.flow)
        assert not any(isinstance(module, Mixing) for module in constant.modules())
        torch.testing.assert_close(log_prob_nats(constant, self.x, None), before)
        torch.testing.assert_close(constant.inverse(z), self.x, rtol=1e-9, atol=1e-9)

    def test_a_row_does_not_depend_on_its_neighbours(self) -> None:
        alone = log_prob_nats(self.flow, self.x[2:3], None)
        torch.testing.assert_close(log_prob_nats(self.flow, self.x, None)[2:3], alone)


def test_a_two_dimensional_density_integrates_to_one() -> None:
    torch.manual_seed(5)
    first = torch.randn(256, 2, dtype=torch.float64) * 2
    flow = awake(spline_flow(first, TableShape(steps=3, hidden=8, bins=4)), first)
    step = 0.04
    line = torch.arange(-8, 8, step, dtype=torch.float64)
    warped = torch.cartesian_prod(line, line)  # the integral over x = sinh(warped), whose tails are heavy
    density = log_prob_nats(flow, torch.sinh(warped), None).exp() * torch.cosh(warped).prod(1)
    assert float(density.sum() * step**2) == pytest.approx(1.0, abs=1e-4)


def test_zuko_computes_the_same_log_prob_and_latents_from_our_weights(table: Chain, rows: Tensor) -> None:
    z, _ = table(rows)
    theirs = zuko.distributions.NormalizingFlow(
        zuko.transforms.ComposedTransform(*(_zuko(layer) for layer in _leaves(table))),
        zuko.distributions.DiagNormal(torch.zeros(COLUMNS).double(), torch.ones(COLUMNS).double()),
    )
    torch.testing.assert_close(theirs.transform(rows), z, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(theirs.log_prob(rows), log_prob_nats(table, rows, None), rtol=0, atol=1e-5)


def _leaves(chain: Chain) -> list[Bijection]:
    return [leaf for layer in chain.layers for leaf in (_leaves(layer) if isinstance(layer, Chain) else [layer])]


def _zuko(layer: Bijection) -> Transform:
    """Zuko's counterpart of a layer, with our weights."""
    match layer:
        case SplineCoupling():
            return _zuko_coupling(layer)
        case Mixing():
            return _zuko_mixing(layer)
        case ActNorm():
            scale = layer.log_scale.exp()
            return DependentTransform(AffineTransform(layer.shift * scale, scale), 1)
        case Affine():
            return DependentTransform(AffineTransform(-layer.centre / layer.scale, 1 / layer.scale), 1)
        case Asinh():
            return DependentTransform(_TorchAsinh(), 1)
    raise AssertionError(f"no counterpart of {layer}")


def _zuko_coupling(layer: SplineCoupling) -> Transform:
    bins, half = (layer.size + 1) // 3, COLUMNS // 2
    mask = (torch.arange(COLUMNS) < half) ^ layer.flipped

    def spline(unchanged: Tensor) -> Transform:
        free = layer.conditioner(unchanged).unflatten(1, (-1, layer.size)).split([bins, bins, bins - 1], dim=-1)
        return DependentTransform(zuko.transforms.MonotonicRQSTransform(*free, bound=layer.bound), 1)

    return zuko.transforms.CouplingTransform(spline, mask)


def _zuko_mixing(layer: Mixing) -> Transform:
    lower = torch.tril(layer.lower, -1) + torch.eye(COLUMNS)
    diagonal = layer.sign * layer.log_diagonal.exp()
    packed = (
        lower * diagonal + torch.triu(layer.upper, 1) / diagonal[:, None]
    )  # zuko's upper factor has the unit diagonal
    order = zuko.transforms.PermutationTransform(layer.permutation.argmax(1))
    return zuko.transforms.ComposedTransform(zuko.transforms.LULinearTransform(packed), order)


class _TorchAsinh(Transform):
    domain = codomain = torch.distributions.constraints.real
    bijective = True

    def _call(self, x: Tensor) -> Tensor:
        return torch.asinh(x)

    def log_abs_det_jacobian(self, x: Tensor, _: Tensor) -> Tensor:
        return -0.5 * torch.log1p(x**2)


def test_the_first_batch_sets_actnorm_and_no_later_one_does() -> None:
    torch.manual_seed(6)
    layer, first = ActNorm(3), torch.randn(512, 3, 4, 4) * 7 + 5
    y, _ = layer(first)
    torch.testing.assert_close(y.mean((0, 2, 3)), torch.zeros(3), rtol=0, atol=1e-4)
    torch.testing.assert_close(y.std((0, 2, 3)), torch.ones(3), rtol=0, atol=1e-4)
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    layer(first * 100)
    torch.testing.assert_close(dict(layer.state_dict()), before, rtol=0, atol=0)


def test_a_spline_is_increasing_continuous_and_the_identity_outside() -> None:
    torch.manual_seed(7)
    x = torch.linspace(-5, 5, 4001, dtype=torch.float64)
    y, log_slope = Spline.from_parameters(3 * torch.randn(23, dtype=torch.float64).expand(4001, 23), 4.0)(x)
    assert bool((y.diff() > 0).all())
    outside = x.abs() > 4
    torch.testing.assert_close(y[outside], x[outside], rtol=0, atol=0)
    assert not log_slope[outside].any()
    measured = (y[2:] - y[:-2]) / (x[2:] - x[:-2])
    assert float((measured.log() - log_slope[1:-1]).abs().median()) < 1e-3


@pytest.mark.parametrize("levels", [256, None])
def test_the_scored_value_lies_in_the_cell_of_its_integer(levels: int | None) -> None:
    cells = torch.arange(256.0) if levels else torch.tensor([-12809.0, -1.0, 0.0, 15164.0, 26739.0])
    x = cells / 255 if levels else cells
    for noise in (0.0, 0.5, 1 - 2**-24):  # the largest float32 below 1: added to 200 it would round up to 201
        dequantised = dequantise(x, torch.full_like(x, noise), levels)
        torch.testing.assert_close(quantise(dequantised, levels), x, rtol=0, atol=1e-7)


def test_a_uniform_density_over_256_levels_costs_eight_bits_per_pixel() -> None:
    log_prob = torch.tensor([2 * cell_log_volume_nats(256)])
    assert float(bits_per_dim(log_prob, 2)) == pytest.approx(8.0)
