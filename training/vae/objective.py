"""What a variational autoencoder maximises: the ELBO, its two parts apart, and the weights of the IWAE bound."""

from typing import NamedTuple

import torch
from torch import Tensor

from training.export import row_sum
from training.vae.likelihood import bits, log_prob_terms
from training.vae.model import Posterior, Vae


class Bound(NamedTuple):
    """The parts of the bound, in nats; with draws z_i ~ q(z | x):

    ELBO = E[log_likelihood] - kl <= E[log mean_i exp(log_weight_i)] (IWAE: Burda et al. 2016, arXiv:1509.00519, eq. 8)
    <= log p(x).
    """

    log_likelihood: Tensor  # [B], log p(x | z)
    kl: Tensor  # [B], KL(q(z | x) || p(z))
    log_weight: Tensor  # [B], log p(x | z) + log p(z) - log q(z | x)
    terms: Tensor  # [B, *event]; sum(terms) = log_likelihood


def bound(vae: Vae, x: Tensor, noise: Tensor) -> Bound:
    """The bound for x [B, *event] on the wire, with one draw of standard normal noise [B, D]."""
    posterior = vae.posterior(x)
    z = posterior.sample(noise)
    terms = log_prob_terms(vae.likelihood(z), x, vae.cells)
    log_likelihood = row_sum(terms)
    # log p(z) - log q(z | x): the constants of the two normal densities cancel.
    log_ratio = row_sum(posterior.log_std + (noise**2 - z**2) / 2)
    return Bound(log_likelihood, kl_nats(posterior), log_likelihood + log_ratio, terms)


def kl_nats(posterior: Posterior) -> Tensor:
    """KL(q(z | x) || N(0, 1)) [B], analytic: Kingma and Welling 2014 (arXiv:1312.6114), appendix B."""
    mean, log_std = posterior
    return row_sum((mean**2 + torch.exp(2 * log_std) - 1) / 2 - log_std)


def negative_elbo(vae: Vae, x: Tensor, noise: Tensor, warmup_steps: int) -> Tensor:
    """-ELBO in bits per dimension [B], its KL term weighted by trained_steps / warmup_steps, at most 1.

    Without the warm-up (Bowman et al. 2016, arXiv:1511.06349) the latents that the decoder cannot yet read are
    switched off, and few return.
    """
    parts = bound(vae, x, noise)
    weight = (vae.trained_steps / warmup_steps).clamp(max=1.0)
    if vae.training:
        vae.trained_steps += 1
    return bits(parts.log_likelihood - weight * parts.kl, x[0].numel())
