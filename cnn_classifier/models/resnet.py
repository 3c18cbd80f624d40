"""A small residual network for small photos: blocks that halve the image, and a head for images of any size."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from cnn_classifier.models.layers import init_weights
from cnn_classifier.models.validation import check_positive, check_probability, feature_map_size


class ResNet(nn.Module):
    """To train from scratch: images (B, channels, H, W) -> logits (B, num_classes).

    Args:
        num_classes: Length of the logits.
        channels: Channels of the images.
        image_size: Side in pixels of the images; those of a training may be smaller.
        widths: Filters of each block; each block halves the image.
        stem: Filters of the first convolution.
        stem_stride: 2 halves the image at once, which saves three quarters of the work; 1 suits images of up to 64 px.
        dropout: Probability of dropping a feature before the last layer.

    Raises:
        ConfigError: If a value is out of range or the image is too small for the blocks.
    """

    supports_variable_size = True

    def __init__(
        self,
        *,
        num_classes: int,
        channels: int,
        image_size: int,
        widths: Sequence[int] = (48, 96, 192, 384),
        stem_channels: int = 24,
        stem_stride: int = 2,
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        check_positive("widths", *widths)
        check_positive("stem_channels", stem_channels)
        check_positive("stem_stride", stem_stride)
        check_probability("dropout", dropout)
        feature_map_size(image_size // stem_stride, widths)
        in_channels = [stem_channels, *widths[:-1]]
        self.features = nn.Sequential(
            nn.Conv2d(channels, stem_channels, 3, stride=stem_stride, padding=1, bias=False),
            nn.BatchNorm2d(stem_channels),
            nn.ReLU(inplace=True),
            *(ResidualBlock(i, o) for i, o in zip(in_channels, widths, strict=True)),
        )
        linear = nn.Linear(widths[-1], num_classes)
        self.head = nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Dropout(dropout), linear)
        init_weights(self)
        nn.init.zeros_(linear.weight)  # no class is likelier at first, whatever the features' scale
        for block in self.features:
            if isinstance(block, ResidualBlock):
                block.init_identity()

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))


class ResidualBlock(nn.Module):
    """Conv - pool - norm - ReLU, and conv - norm added to it: (B, in_channels, H, W) -> (B, width, H/2, W/2)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.halve = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
            nn.MaxPool2d(2),  # before the norm: a quarter of its work
            fixed_scale_batch_norm(out_channels),
            nn.ReLU(inplace=True),
        )
        self.conv = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm = fixed_scale_batch_norm(out_channels)

    def init_identity(self) -> None:
        """Let every kernel hand on what it is given: what is above learns from the image at once (arXiv:2404.00498)."""
        for conv in self.modules():
            if isinstance(conv, nn.Conv2d):
                nn.init.dirac_(conv.weight[: conv.in_channels])

    def forward(self, images: Tensor) -> Tensor:
        downsampled = self.halve(images)
        return functional.relu(downsampled + self.norm(self.conv(downsampled)))


def fixed_scale_batch_norm(num_features: int) -> nn.BatchNorm2d:
    """Batch norm whose scale stays at one: the kernel after it has a scale of its own.

    Neither learning it nor beginning with a block's last one at zero (arXiv:1706.02677) pays: docs/results.md.
    """
    layer = nn.BatchNorm2d(num_features)
    layer.weight.requires_grad = False
    return layer
