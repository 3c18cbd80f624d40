"""A network whose training does not depend on the number of processes."""

from torch import Tensor, nn


class GroupNet(nn.Module):
    """A network with group normalization, which does not use batch statistics."""

    supports_variable_size = True

    def __init__(self, *, num_classes: int, channels: int, image_size: int) -> None:
        super().__init__()
        conv = nn.Conv2d(channels, 8, 3, padding=1)
        self.layers = nn.Sequential(conv, nn.GroupNorm(2, 8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(8, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.layers(images))
