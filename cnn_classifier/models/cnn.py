"""A convolutional network with batch normalization."""

from collections.abc import Sequence

from torch import Tensor, nn

from cnn_classifier.models.layers import ConvBlock, init_weights
from cnn_classifier.models.validation import check_positive, check_probability, feature_map_size, require_image_size


class CNN(nn.Module):
    """A small convolutional network that is trained from scratch, the optimized network of the course project.

    Each block is a 3x3 convolution, batch normalization (arXiv:1502.03167), 2x2 max pooling, ReLU and dropout of whole
    feature maps (arXiv:1411.4280). The head flattens the feature map and has one hidden linear layer. Weights are
    initialized for ReLU (arXiv:1502.01852).

    Shape:
        images (N, channels, image_size, image_size) -> logits (N, num_classes)

    Args:
        num_classes: The number of classes.
        channels: The number of image channels: 1 (grayscale) or 3 (RGB).
        image_size: The height and width of the images, in pixels. It determines the input size of the first linear
            layer and is therefore required.
        widths: The number of output channels of each block. Each block halves height and width.
        hidden_dim: The number of units of the hidden layer.
        dropout: The dropout probability of feature maps after each block.
        head_dropout: The dropout probability of hidden units.

    Raises:
        ConfigError: If a value is out of range or the image is too small for the number of blocks.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        channels: int = 3,
        image_size: int | None = None,
        widths: Sequence[int] = (32, 64, 128, 256),
        hidden_dim: int = 256,
        dropout: float = 0.1,
        head_dropout: float = 0.5,
    ) -> None:
        super().__init__()
        check_positive("widths", *widths)
        check_positive("hidden_dim", hidden_dim)
        check_probability("dropout", dropout)
        check_probability("head_dropout", head_dropout)
        feature_size = feature_map_size(require_image_size("CNN", image_size), widths)
        in_channels = [channels, *widths[:-1]]
        self.features = nn.Sequential(*(ConvBlock(i, o, dropout) for i, o in zip(in_channels, widths, strict=True)))
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(widths[-1] * feature_size**2, hidden_dim, bias=False),
            nn.BatchNorm1d(hidden_dim),
            nn.ReLU(inplace=True),
            nn.Dropout(head_dropout),
            nn.Linear(hidden_dim, num_classes),
        )
        init_weights(self)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, num_classes) of normalized images (N, channels, image_size, image_size)."""
        return self.head(self.features(images))
