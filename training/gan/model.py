"""The two players: a generator by way of a style space, and a critic with class projection. Nothing couples rows."""

import torch
from torch import Tensor, nn
from torch.nn import functional

EMBEDDING = 32  # numbers per class in the generator


class Gan(nn.Module):
    """Generator and critic of images [B, 1, 28, 28] in [-1, 1] with labels int64 [B].

    `turns` counts the turns taken in training: the critic has the even ones.
    """

    turns: Tensor

    def __init__(self, classes: int, latent_size: int, style_size: int, channels: tuple[int, int]) -> None:
        super().__init__()
        self.generator = Generator(classes, latent_size, style_size, channels)
        self.critic = Critic(classes, style_size, channels)
        self.apply(_start)
        self.register_buffer("turns", torch.zeros((), dtype=torch.int64))


class Generator(nn.Module):
    """Latents z [B, latent] -> styles w [B, style] -> images; channels at 14x14 and at 7x7."""

    def __init__(self, classes: int, latent_size: int, style_size: int, channels: tuple[int, int]) -> None:
        super().__init__()
        half, quarter = channels
        self.latent_size, self.classes = latent_size, classes
        self.embedding = nn.Embedding(classes, EMBEDDING)
        self.mapping = nn.Sequential(
            nn.Linear(latent_size + EMBEDDING, style_size),
            nn.LeakyReLU(0.2),
            nn.Linear(style_size, style_size),
            nn.LeakyReLU(0.2),
        )
        self.synthesis = nn.Sequential(
            nn.Linear(style_size + EMBEDDING, quarter * 49),
            nn.Unflatten(1, (quarter, 7, 7)),
            Residual(quarter),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(quarter, half, 3, padding=1),
            Residual(half),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(half, half // 2, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(half // 2, 1, 3, padding=1),
            nn.Tanh(),  # black is black: without a bound, the critic lives on the background's noise
        )

    def map(self, z: Tensor, label: Tensor) -> Tensor:
        """The style w [B, style] of a latent."""
        style: Tensor = self.mapping(torch.cat((z, self.embedding(label)), dim=1))
        return style

    def synthesise(self, w: Tensor, label: Tensor) -> Tensor:
        """The image [B, 1, 28, 28] in [-1, 1] of a style."""
        image: Tensor = self.synthesis(torch.cat((w, self.embedding(label)), dim=1))
        return image

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        return self.synthesise(self.map(z, label), label)


class Critic(nn.Module):
    """Images and labels -> logits [B], larger for what looks like data of that class.

    The class enters by projection: Miyato and Koyama 2018, arXiv:1802.05637, eq. 4.
    """

    def __init__(self, classes: int, features: int, channels: tuple[int, int]) -> None:
        super().__init__()
        half, quarter = channels
        self.body = nn.Sequential(
            nn.Conv2d(1, half, 4, stride=2, padding=1),  # 28 -> 14
            Residual(half),
            nn.LeakyReLU(0.2),
            nn.Conv2d(half, quarter, 4, stride=2, padding=1),  # 14 -> 7
            Residual(quarter),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            nn.Linear(quarter * 49, features),
            nn.LeakyReLU(0.2),
        )
        self.direction = nn.Linear(features, 1)
        self.embedding = nn.Embedding(classes, features)
        nn.init.normal_(self.embedding.weight, std=features**-0.5)

    def forward(self, image: Tensor, label: Tensor) -> Tensor:
        features = self.body(image)
        direction = self.embedding(label) + self.direction.weight
        logits: Tensor = (features * direction).sum(1) + self.direction.bias
        return logits


class Residual(nn.Module):
    """x + two convolutions, the second of which begins at 0 in place of a normalisation (Zhang et al. 2019,
    arXiv:1901.09321).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(functional.leaky_relu(x, 0.2))
        residue: Tensor = self.second(functional.leaky_relu(h, 0.2))
        return x + residue


def _start(module: nn.Module) -> None:
    """Weights that keep the variance of their inputs (He et al. 2015, arXiv:1502.01852); no biases."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(module.weight, a=0.2)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    if isinstance(module, Residual):  # called after its convolutions
        nn.init.zeros_(module.second.weight)
