"""Laws of variational autoencoders: a likelihood that sums to 1, bounds in their order, an exact KL, honest draws."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from training.vae.likelihood import Cells, Mixture, bits, draw, log_prob_terms, mean, mixture
from training.vae.model import Posterior, Vae, image_vae, table_vae
from training.vae.objective import bound, kl_nats, negative_elbo

LEVELS = 256
COMPONENTS = 3


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def cells() -> Cells:
    return Cells(LEVELS, torch.full((1,), 0.5), torch.full((1,), 0.5)).double()


@pytest.fixture
def table_cells() -> Cells:
    return Cells(None, torch.tensor([10.0]), torch.tensor([4.0])).double()


@pytest.fixture
def pixels() -> Tensor:
    """All levels of one pixel, [256, 1], as on the wire."""
    return torch.arange(LEVELS, dtype=torch.float64)[:, None] / (LEVELS - 1)


def random_mixture(log_scale: float, entries: int = 1) -> Mixture:
    raw = torch.randn(1, 3 * COMPONENTS, entries, dtype=torch.float64)
    raw[:, 2 * COMPONENTS :] += log_scale
    return mixture(raw, COMPONENTS)


def toy_vae() -> Vae:
    """A table VAE with latents that matter."""
    rows = torch.round(20 * torch.randn(64, 1) + 5 * torch.randn(64, 4))
    vae = table_vae(rows, latent_size=2, components=2, hidden=16).double()
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return vae.requires_grad_(False).eval()


@pytest.mark.parametrize("log_scale", [-9.0, -5.0, -2.0, 0.0, 3.0])
def test_the_discretised_likelihood_sums_to_one_over_the_256_levels(
    cells: Cells, pixels: Tensor, log_scale: float
) -> None:
    total = log_prob_terms(random_mixture(log_scale), pixels, cells).exp().sum()
    assert total == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("log_scale", [-6.0, -2.0, 0.0])
def test_the_likelihood_of_integers_sums_to_one_over_all_of_them(table_cells: Cells, log_scale: float) -> None:
    rows = torch.arange(-1000, 1001, dtype=torch.float64)[:, None]
    assert log_prob_terms(random_mixture(log_scale), rows, table_cells).exp().sum() == pytest.approx(1, abs=1e-5)


def test_a_cells_probability_is_the_difference_of_the_mixtures_distribution_function(cells: Cells) -> None:
    parts, x = random_mixture(-2.0), torch.tensor([[100 / 255]], dtype=torch.float64)
    borders = torch.tensor([99.5, 100.5], dtype=torch.float64) / 255 * 2 - 1
    weights, means, scales = parts.log_weights.exp(), parts.means, parts.log_scales.exp()
    below, above = ((weights * torch.sigmoid((border - means) / scales)).sum() for border in borders)
    assert log_prob_terms(parts, x, cells).item() == pytest.approx(math.log(above - below), abs=1e-6)


@pytest.mark.parametrize("log_scale", [-4.0, -1.0])
def test_draws_have_the_frequencies_of_the_likelihood(cells: Cells, pixels: Tensor, log_scale: float) -> None:
    parts = random_mixture(log_scale)
    # Evenly spaced in place of random: the frequencies are then exact to about K / 100000.
    noise = ((torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000)[:, None]
    drawn = (cells.quantise(draw(parts, noise)) * (LEVELS - 1)).round().long().flatten()
    frequencies = torch.bincount(drawn, minlength=LEVELS) / 100_000
    probabilities = log_prob_terms(parts, pixels, cells).exp().flatten()
    assert (frequencies - probabilities).abs().max() < 1e-4


@pytest.mark.parametrize("log_scale", [-8.0, -3.0, 0.0])
def test_the_expected_pixel_is_that_of_the_likelihood_within_half_a_level(
    cells: Cells, pixels: Tensor, log_scale: float
) -> None:
    parts = random_mixture(log_scale)
    expected = (log_prob_terms(parts, pixels, cells).exp() * pixels).sum()
    assert abs(mean(parts, cells).item() - expected.item()) <= 0.5 / 255


def test_the_expected_integer_is_that_of_the_likelihood(table_cells: Cells) -> None:
    parts, rows = random_mixture(-1.0), torch.arange(-1000, 1001, dtype=torch.float64)[:, None]
    expected = (log_prob_terms(parts, rows, table_cells).exp() * rows).sum()
    assert mean(parts, table_cells).item() == pytest.approx(expected.item(), abs=1e-3)


def test_the_analytic_kl_is_the_monte_carlo_one_and_that_of_torch() -> None:
    posterior = Posterior(torch.randn(1, 5, dtype=torch.float64), 0.5 * torch.randn(1, 5, dtype=torch.float64))
    q, p = Normal(posterior.mean, posterior.log_std.exp()), Normal(0.0, 1.0)
    z = q.sample((200_000,))
    ratios = (q.log_prob(z) - p.log_prob(z)).sum((1, 2))
    assert kl_nats(posterior).item() == pytest.approx(kl_divergence(q, p).sum().item(), abs=1e-9)
    assert abs(kl_nats(posterior).item() - ratios.mean()) < 5 * ratios.std() / len(ratios) ** 0.5


def test_the_weight_of_a_draw_is_the_ratio_of_the_joint_density_to_the_posterior() -> None:
    vae, x = toy_vae(), torch.tensor([[1.0, -3, 20, 7]], dtype=torch.float64)
    noise = torch.randn(1, 2, dtype=torch.float64)
    posterior = vae.posterior(x)
    z, q = posterior.sample(noise), Normal(posterior.mean, posterior.log_std.exp())
    parts = bound(vae, x, noise)
    ratio = Normal(0.0, 1.0).log_prob(z).sum() - q.log_prob(z).sum()
    assert parts.log_weight.item() == pytest.approx((parts.log_likelihood + ratio).item(), abs=1e-9)


def test_the_elbo_is_below_iwae_which_grows_with_its_draws_and_stays_below_the_evidence() -> None:
    vae, x = toy_vae(), torch.tensor([[1.0, -3, 20, 7]], dtype=torch.float64)
    draws = 64 * 2000
    parts = bound(vae, x.expand(draws, -1), torch.randn(draws, 2, dtype=torch.float64))
    iwae = {k: (parts.log_weight.reshape(-1, k).logsumexp(1) - math.log(k)).mean().item() for k in (1, 2, 8, 64)}
    elbo = (parts.log_likelihood - parts.kl).mean().item()
    assert elbo == pytest.approx(iwae[1], abs=0.05)
    assert iwae[1] < iwae[2] < iwae[8] < iwae[64] < evidence_nats(vae, x) + 1e-3


def evidence_nats(vae: Vae, x: Tensor) -> float:
    """log p(x) of a VAE with two latents, by quadrature over the prior."""
    line = torch.linspace(-6, 6, 401, dtype=torch.float64)
    z = torch.cartesian_prod(line, line)
    joint = log_prob_terms(vae.likelihood(z), x, vae.cells).sum(1) + Normal(0.0, 1.0).log_prob(z).sum(1)
    return (joint.logsumexp(0) + 2 * math.log(12 / 400)).item()


def test_the_terms_of_an_image_sum_to_its_log_likelihood() -> None:
    vae = image_vae(latent_size=4, components=2, channels=(4, 4)).eval()
    x = torch.randint(256, (3, 1, 28, 28)) / 255
    parts = bound(vae, x, torch.randn(3, 4))
    torch.testing.assert_close(parts.terms.flatten(1).sum(1), parts.log_likelihood, rtol=1e-5, atol=1e-2)


def test_the_warm_up_lets_the_kl_in_step_by_step() -> None:
    vae, x, noise = toy_vae().train(), torch.zeros(1, 4, dtype=torch.float64), torch.zeros(1, 2, dtype=torch.float64)
    parts = bound(vae, x, noise)
    losses = [negative_elbo(vae, x, noise, warmup_steps=2).item() for _ in range(4)]
    expected = [bits(parts.log_likelihood - weight * parts.kl, 4).item() for weight in (0, 0.5, 1, 1)]
    assert losses == pytest.approx(expected)


def test_bits_per_dim_of_a_fair_byte_is_eight() -> None:
    assert bits(torch.tensor([784 * math.log(1 / 256)]), 784).item() == pytest.approx(8)
