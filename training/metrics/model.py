"""A small convolutional classifier of 28x28 grey images that also returns its features."""

from torch import Tensor, nn


class Classifier(nn.Module):
    """Three convolutions and two linear layers: images in [0, 1] -> (features [B, F], logits [B, classes])."""

    def __init__(self, classes: int, channels: int = 24, features: int = 64) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_block(1, channels),
            nn.MaxPool2d(2),  # 28 -> 14
            *_block(channels, 2 * channels),
            nn.MaxPool2d(2),  # 14 -> 7
            *_block(2 * channels, 4 * channels),
            nn.AvgPool2d(3, stride=2),  # 7 -> 3
            nn.Flatten(),
            nn.Linear(4 * channels * 9, features),
            nn.SiLU(),
        )
        self.head = nn.Linear(features, classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(4 * x - 1)  # about zero mean and unit variance on Fashion-MNIST
        return features, self.head(features)


def _block(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, 3, padding=1), nn.GroupNorm(4, outputs), nn.SiLU()
