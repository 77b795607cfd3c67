"""The mathematics of the denoiser: preconditioning, loss weight, the DDPM form of the notes, the sampler, the bound."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import norm

from training.diffusion.bound import bound_nats, decoder_nats, prior_kl_nats, transition_kl_nats
from training.diffusion.model import Denoiser, Preconditioning
from training.diffusion.objective import denoising_loss, loss_weight
from training.diffusion.sampler import Floats, heun, karras_sigmas

SIGMA_DATA = 0.7
SIGMAS = torch.logspace(-3, 2, 30, dtype=torch.float64)


@pytest.fixture
def denoiser() -> Denoiser:
    torch.manual_seed(0)
    network = Denoiser(classes=3, channels=8, sigma_data=SIGMA_DATA)
    for parameter in network.parameters():  # the zero-initialised layers would hide the network
        torch.nn.init.normal_(parameter, std=0.1)
    return network.requires_grad_(False)


def denoised(denoiser: Denoiser, x: torch.Tensor, sigma: float) -> torch.Tensor:
    level = torch.full((len(x),), sigma)
    result: torch.Tensor = denoiser(x, level, level.log(), torch.zeros(len(x), dtype=torch.int64))
    return result


def test_without_noise_the_denoiser_returns_its_input(denoiser: Denoiser) -> None:
    x = torch.randn(2, 1, 28, 28)
    assert torch.allclose(denoised(denoiser, x, 1e-6), x, atol=1e-4)


def test_with_infinite_noise_the_denoiser_forgets_its_input_and_stays_at_the_scale_of_the_data(
    denoiser: Denoiser,
) -> None:
    noise = torch.randn(2, 1, 28, 28)
    sigma = 1e6
    c = Preconditioning.at(torch.tensor(sigma), SIGMA_DATA)
    level = torch.full((2,), sigma)
    network = denoiser.network(c.into * noise * sigma, level.log() / 4, torch.zeros(2, dtype=torch.int64))
    result = denoised(denoiser, sigma * noise, sigma)
    assert result.isfinite().all()
    assert torch.allclose(result, SIGMA_DATA * network, rtol=1e-3, atol=1e-3)


def test_the_input_of_the_network_has_unit_variance_at_every_noise_level() -> None:
    into = Preconditioning.at(SIGMAS, SIGMA_DATA).into
    assert torch.allclose(into**2 * (SIGMA_DATA**2 + SIGMAS**2), torch.ones_like(SIGMAS))


def test_the_target_of_the_network_has_unit_variance_at_every_noise_level() -> None:
    """The network must give (x - c_skip (x + sigma n)) / c_out: its variance, for x of variance sigma_data^2."""
    c = Preconditioning.at(SIGMAS, SIGMA_DATA)
    variance = ((1 - c.skip) ** 2 * SIGMA_DATA**2 + c.skip**2 * SIGMAS**2) / c.out**2
    assert torch.allclose(variance, torch.ones_like(SIGMAS))


def test_the_skip_connection_is_the_best_linear_denoiser() -> None:
    """c_skip minimises the variance that is left for the network: its derivative there is zero."""
    skip = Preconditioning.at(SIGMAS, SIGMA_DATA).skip.requires_grad_()
    left = ((1 - skip) ** 2 * SIGMA_DATA**2 + skip**2 * SIGMAS**2).sum()
    (slope,) = torch.autograd.grad(left, skip)
    assert torch.allclose(slope, torch.zeros_like(slope), atol=1e-10)


def test_the_loss_weight_cancels_the_output_scale() -> None:
    out = Preconditioning.at(SIGMAS, SIGMA_DATA).out
    assert torch.allclose(loss_weight(SIGMAS, SIGMA_DATA) * out**2, torch.ones_like(SIGMAS))


def test_an_untrained_denoiser_has_a_loss_of_one_on_data_of_the_declared_variance() -> None:
    torch.manual_seed(0)
    fresh = Denoiser(classes=3, channels=8, sigma_data=SIGMA_DATA)
    images = SIGMA_DATA * torch.randn(64, 1, 28, 28)
    with torch.no_grad():
        loss = denoising_loss(fresh, images, torch.zeros(64, dtype=torch.int64), torch.Generator().manual_seed(0))
    assert loss.item() == pytest.approx(1, abs=0.05)


def test_the_loss_repeats_with_its_generator(denoiser: Denoiser) -> None:
    images, labels = torch.randn(4, 1, 28, 28), torch.tensor([0, 1, 2, 0])
    losses = [
        denoising_loss(denoiser, images, labels, torch.Generator().manual_seed(seed)).item() for seed in (1, 1, 2)
    ]
    assert losses[0] == losses[1] != losses[2]


class Ddpm:
    """Ho et al. 2020 (arXiv:2006.11239), eq. 4: x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) eps with a_t = prod(1 - beta)."""

    def __init__(self, steps: int = 50) -> None:
        self.beta = np.linspace(1e-4, 0.2, steps)
        self.a = np.cumprod(1 - self.beta)
        self.sigma = np.sqrt((1 - self.a) / self.a)  # x_t / sqrt(a_t) = x_0 + sigma_t eps

    def posterior_mean(self, x_0: float, x_t: float, t: int) -> float:
        """Eq. 7: the mean of q(x_{t-1} | x_t, x_0)."""
        a, before, beta = self.a[t], self.a[t - 1], self.beta[t]
        return float((np.sqrt(before) * beta * x_0 + np.sqrt(1 - beta) * (1 - before) * x_t) / (1 - a))

    def posterior_variance(self, t: int) -> float:
        return float((1 - self.a[t - 1]) / (1 - self.a[t]) * self.beta[t])


@pytest.mark.parametrize("t", [1, 10, 49])
def test_the_ddpm_form_has_the_posterior_mean_of_the_variance_exploding_form(t: int) -> None:
    """With y = x_t sqrt(1 + sigma_t^2), one step is a Gaussian product in sigma: the same mean, rescaled."""
    ddpm, x_0, x_t = Ddpm(), 0.4, -1.3
    sigma, before = ddpm.sigma[t], ddpm.sigma[t - 1]
    assert np.sqrt(ddpm.a) == pytest.approx(1 / np.sqrt(1 + ddpm.sigma**2))
    y = x_t * np.sqrt(1 + sigma**2)
    mean = y * before**2 / sigma**2 + x_0 * (1 - before**2 / sigma**2)
    assert mean / np.sqrt(1 + before**2) == pytest.approx(ddpm.posterior_mean(x_0, x_t, t))


@pytest.mark.parametrize("t", [1, 10, 49])
def test_predicting_epsilon_and_predicting_the_image_give_the_same_step(t: int) -> None:
    """Eq. 11: the mean by the epsilon of D = y - sigma eps is the posterior mean with D in the place of x_0."""
    ddpm, x_t, denoised_image = Ddpm(), -1.3, 0.25
    epsilon = (x_t * np.sqrt(1 + ddpm.sigma[t] ** 2) - denoised_image) / ddpm.sigma[t]
    beta, a = ddpm.beta[t], ddpm.a[t]
    mean = (x_t - beta / np.sqrt(1 - a) * epsilon) / np.sqrt(1 - beta)
    assert mean == pytest.approx(ddpm.posterior_mean(denoised_image, x_t, t))


@pytest.mark.parametrize("t", [1, 10, 49])
def test_a_term_of_the_bound_is_the_divergence_of_the_two_ddpm_posteriors(t: int) -> None:
    ddpm, x_0, denoised_image, x_t = Ddpm(), 0.4, 0.25, -1.3
    difference = ddpm.posterior_mean(x_0, x_t, t) - ddpm.posterior_mean(denoised_image, x_t, t)
    divergence = difference**2 / (2 * ddpm.posterior_variance(t))
    squared_error = np.array([(x_0 - denoised_image) ** 2])
    assert transition_kl_nats(ddpm.sigma[t - 1 : t], ddpm.sigma[t : t + 1], squared_error) == pytest.approx(divergence)


def test_the_noise_levels_fall_from_sigma_max_over_sigma_min_to_zero() -> None:
    sigmas = karras_sigmas(18, 0.002, 80.0, 7.0)
    assert (sigmas[0], sigmas[17], sigmas[18]) == pytest.approx((80.0, 0.002, 0.0))
    assert (np.diff(sigmas) < 0).all()
    assert karras_sigmas(1, 0.002, 80.0, 7.0).tolist() == pytest.approx([80.0, 0.0])


class Ideal:
    """The exact denoiser of Gaussian data: E[x_0 | x] = mean + s^2 / (s^2 + sigma^2) (x - mean)."""

    def __init__(self, mean: float, deviation: float) -> None:
        self.mean, self.variance = mean, deviation**2

    def __call__(self, x: Floats, sigma: NDArray[np.float64], label: NDArray[np.int64]) -> Floats:
        gain = (self.variance / (self.variance + sigma**2))[:, None, None, None]
        return (self.mean + gain * (x - self.mean)).astype(np.float32)


def test_the_sampler_solves_the_flow_of_a_gaussian_to_second_order() -> None:
    """The exact solution from x at sigma_max is mean + (x - mean) s / sqrt(s^2 + sigma_max^2)."""
    mean, deviation, sigma_max = 0.1, 0.2, 2.0
    noise = np.random.default_rng(0).standard_normal((4, 1, 3, 3)).astype(np.float32)
    exact = mean + (noise * sigma_max - mean) * deviation / np.hypot(deviation, sigma_max)
    label = np.zeros(4, dtype=np.int64)

    def error(steps: int) -> float:
        sigmas = karras_sigmas(steps, 1e-3, sigma_max, 7.0)
        return float(np.abs(heun(Ideal(mean, deviation), noise, label, sigmas) - exact).max())

    assert 3 < error(8) / error(16) < 6
    assert error(64) < 2e-3


def test_the_samples_stay_in_the_range_of_images() -> None:
    noise = np.random.default_rng(0).standard_normal((2, 1, 3, 3)).astype(np.float32)
    images = heun(Ideal(0.0, 3.0), noise, np.zeros(2, dtype=np.int64), karras_sigmas(6, 0.01, 50.0, 7.0))
    assert np.abs(images).max() == 1.0


def test_the_decoder_is_a_distribution_over_256_values() -> None:
    """At a large sigma_min a pixel costs the entropy of 256 values, at a small one nothing."""
    clean = np.full((2, 1, 4, 4), -1.0, dtype=np.float32)
    random = np.random.default_rng(0)
    assert decoder_nats(clean, 1e3, random) / 16 == pytest.approx(np.log(256), rel=1e-3)
    assert decoder_nats(clean, 1e-4, random) == pytest.approx(0, abs=1e-6)


def test_the_prior_term_is_the_divergence_of_two_gaussians() -> None:
    clean = np.array([[[[0.5, -1.0]]]], dtype=np.float32)
    assert prior_kl_nats(clean, 2.0) == pytest.approx((0.25 + 1.0) / 8)


def test_the_bound_of_an_ideal_denoiser_is_above_the_entropy_of_the_data_and_close_to_it() -> None:
    """Pixels that are a rounded Gaussian: -log p is known, and the exact denoiser's bound is nearly tight."""
    deviation, step = 0.25, 2 / 255
    values = np.arange(256) / 127.5 - 1
    probability = norm.cdf(values + step / 2, scale=deviation) - norm.cdf(values - step / 2, scale=deviation)
    probability /= probability.sum()
    entropy = float(-(probability * np.log(probability)).sum())
    clean = np.random.default_rng(0).choice(values, (400, 1, 8, 8), p=probability).astype(np.float32)
    nats = bound_nats(Ideal(0.0, deviation), clean, np.zeros(400, dtype=np.int64), (0.004, 20.0), draws=50)
    assert entropy < nats.mean() / 64 < entropy + 0.5
