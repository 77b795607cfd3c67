"""What the denoiser minimises: the denoising form of the variational bound, weighted as in EDM."""

import torch
from torch import Tensor

from training.diffusion.model import Denoiser

P_MEAN, P_STD = -1.2, 1.2  # of log(sigma) in training: Karras et al. 2022 (arXiv:2206.00364), Table 1
LABEL_DROPOUT = 0.1


def loss_weight(sigma: Tensor, sigma_data: float) -> Tensor:
    """lambda(sigma) = 1 / c_out^2, with which the network's target has unit variance at every noise level."""
    return (sigma**2 + sigma_data**2) / (sigma * sigma_data) ** 2


def denoising_loss(denoiser: Denoiser, images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
    """E[lambda(sigma) |D(x + sigma n, sigma) - x|^2] per pixel (arXiv:2206.00364, eq. 2 and 8).

    images [B, C, H, W] in [-1, 1]; labels int64 [B], a tenth of which become "no class".
    """
    log_sigma = P_MEAN + P_STD * torch.randn(len(images), generator=generator)
    dropped = torch.rand(len(images), generator=generator) < LABEL_DROPOUT
    noise = torch.randn(images.shape, generator=generator)
    sigma = log_sigma.exp()[:, None, None, None]
    label = torch.where(dropped, denoiser.classes, labels)
    denoised: Tensor = denoiser(images + sigma * noise, log_sigma.exp(), log_sigma, label)
    return (loss_weight(sigma, denoiser.sigma_data) * (denoised - images) ** 2).mean()
