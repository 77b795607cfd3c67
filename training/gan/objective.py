"""The games: the minimax game of the first GANs, and the relativistic one with gradient penalties at both ends."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from training.gan.model import Gan

Game = Literal["relativistic", "minimax"]


@dataclass(frozen=True)
class Rules:
    """Which game, and the weight of R1 and R2 in it."""

    game: Game
    gamma: float


def critic_loss(game: Game, real: Tensor, fake: Tensor) -> Tensor:
    """What the critic minimises, from logits [B] of data and of generated images.

    minimax: -V = -E log D(x) - E log(1 - D(G(z))), D the sigmoid of the logit (Goodfellow et al. 2014,
    arXiv:1406.2661, eq. 1). relativistic: E softplus(C(G(z)) - C(x)), pairs of one class (Jolicoeur-Martineau 2018,
    arXiv:1807.00734; Huang et al. 2024, arXiv:2501.05441, eq. 2).
    """
    if game == "minimax":
        return (functional.softplus(-real) + functional.softplus(fake)).mean()
    return functional.softplus(fake - real).mean()


def generator_loss(game: Game, real: Tensor, fake: Tensor) -> Tensor:
    """What the generator minimises, from the same logits.

    minimax: the non-saturating -E log D(G(z)), which has the same fixed point and, unlike log(1 - D), a gradient
    while the critic is right (arXiv:1406.2661, section 3).
    """
    if game == "minimax":
        return functional.softplus(-fake).mean()
    return functional.softplus(real - fake).mean()


def gradient_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """E |d logit / d image|^2 / 2, differentiable: R1 on data, R2 on generated images (Mescheder et al. 2018,
    arXiv:1801.04406, eq. 9 and 10). logits [B] must depend on images [B, ...] row by row.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.square().flatten(1).sum(1).mean() / 2


def turn_loss(gan: Gan, rules: Rules, images: Tensor, labels: Tensor, z: Tensor) -> Tensor:
    """The loss of the player whose turn it is; the other player gets no gradient, and so no step of the optimiser.

    images [B, 1, 28, 28] in [-1, 1], z [B, latent].
    """
    critics_turn = gan.turns % 2 == 0
    if gan.training:
        gan.turns += 1
    return (
        critics_loss(gan, rules, images, labels, z) if critics_turn else generators_loss(gan, rules, images, labels, z)
    )


def critics_loss(gan: Gan, rules: Rules, images: Tensor, labels: Tensor, z: Tensor) -> Tensor:
    """What the critic minimises, with its penalties."""
    with torch.no_grad():
        generated = gan.generator(z, labels)
    both = torch.cat((images, generated)).requires_grad_(rules.gamma > 0)
    logits = gan.critic(both, labels.repeat(2))
    loss = critic_loss(rules.game, *logits.chunk(2))
    # Over both halves at once, so twice the mean: R1 + R2.
    return loss + 2 * rules.gamma * gradient_penalty(logits, both) if rules.gamma else loss


def generators_loss(gan: Gan, rules: Rules, images: Tensor, labels: Tensor, z: Tensor) -> Tensor:
    """What the generator minimises."""
    weights = {name: parameter.detach() for name, parameter in gan.critic.named_parameters()}
    real, generated = (
        functional_call(gan.critic, weights, (shown, labels)) for shown in (images, gan.generator(z, labels))
    )
    return generator_loss(rules.game, real, generated)
