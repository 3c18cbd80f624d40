"""The default network, a small residual network for images of any size."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from cnn_classifier.models.layers import init_weights
from cnn_classifier.models.validation import check_positive, check_probability, feature_map_size


class ResNet(nn.Module):
    """A small residual network (arXiv:1512.03385) that is trained from scratch.

    A strided convolution is followed by one `ResidualBlock` per width, global max pooling and a linear layer. The
    convolutions of the blocks are initialized to the identity (arXiv:2404.00498), and the linear layer to zero.

    Shape:
        images (N, channels, H, W) -> logits (N, num_classes)

    Args:
        num_classes: The number of classes.
        channels: The number of image channels: 1 (grayscale) or 3 (RGB).
        image_size: The height and width of the largest images, in pixels. It only checks that the feature map is not
            empty; `None` skips the check.
        widths: The number of output channels of each block. Each block halves height and width. If `auto`, the recipe
            reduces the default by a third for small budgets.
        stem_channels: The number of output channels of the first convolution.
        stem_stride: The stride of the first convolution. A stride of 2 takes a quarter of the computation; the recipe
            sets 1 for images below 64 px.
        dropout: The dropout probability of features before the linear layer. The default is the value that the recipe
            sets for long runs; it sets 0.1 for short runs.

    Raises:
        ConfigError: If a value is out of range or the image is too small for the number of blocks.
    """

    supports_variable_size = True

    def __init__(
        self,
        *,
        num_classes: int,
        channels: int = 3,
        image_size: int | None = None,
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
        if image_size is not None:
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
        nn.init.zeros_(linear.weight)  # the initial probabilities are equal for all classes, at any feature scale
        for block in self.features:
            if isinstance(block, ResidualBlock):
                block.init_identity()

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, num_classes) of normalized images (N, channels, H, W)."""
        return self.head(self.features(images))


class ResidualBlock(nn.Module):
    """A block that halves height and width, followed by a residual convolution (arXiv:1512.03385).

    Shape:
        (N, in_channels, H, W) -> (N, out_channels, H // 2, W // 2)

    Args:
        in_channels: The number of input channels.
        out_channels: The number of output channels.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.halve = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
            nn.MaxPool2d(2),  # before the normalization, which then takes a quarter of the computation
            fixed_scale_batch_norm(out_channels),
            nn.ReLU(inplace=True),
        )
        self.conv = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm = fixed_scale_batch_norm(out_channels)

    def init_identity(self) -> None:
        """Initialize the convolutions to the identity, which trains faster (arXiv:2404.00498)."""
        for conv in self.modules():
            if isinstance(conv, nn.Conv2d):
                nn.init.dirac_(conv.weight[: conv.in_channels])

    def forward(self, features: Tensor) -> Tensor:
        """Return features (N, out_channels, H // 2, W // 2) of features (N, in_channels, H, W)."""
        downsampled = self.halve(features)
        return functional.relu(downsampled + self.norm(self.conv(downsampled)))


def fixed_scale_batch_norm(num_features: int) -> nn.BatchNorm2d:
    """Return a batch normalization whose scale is fixed at one, because the next convolution has a scale of its own.

    Neither a learnable scale nor a zero-initialized last one (arXiv:1706.02677) improves accuracy (docs/results.md).
    """
    layer = nn.BatchNorm2d(num_features)
    layer.weight.requires_grad = False
    return layer
