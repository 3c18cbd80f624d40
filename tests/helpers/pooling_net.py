"""A small user-defined network for images of any size."""

from torch import Tensor, nn


class PoolingNet(nn.Module):
    """A convolution, batch normalization, ReLU, global average pooling and a linear layer."""

    supports_variable_size = True

    def __init__(self, *, num_classes: int, channels: int, image_size: int) -> None:
        super().__init__()
        conv = nn.Conv2d(channels, 8, 3, padding=1)
        self.layers = nn.Sequential(conv, nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(8, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.layers(images))
