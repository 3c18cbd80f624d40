"""The seeds' optimised network: Conv - BatchNorm - ReLU - Pool - Dropout blocks and a dense head."""

from collections.abc import Sequence

from torch import Tensor, nn

from cnn_classifier.models.layers import ConvBlock, init_weights
from cnn_classifier.models.validation import check_positive, check_probability, feature_map_size


class CNN(nn.Module):
    """A small network to train from scratch: images (B, channels, image_size, image_size) -> logits (B, num_classes).

    Args:
        num_classes: Length of the logits.
        channels: Channels of the images.
        image_size: Side of the images in pixels; the flattening head fixes it.
        widths: Filters of each block; each block halves the image.
        dense: Units of the hidden dense layer.
        dropout: Probability of dropping a feature map after each block.
        head_dropout: Probability of dropping a hidden unit.

    Raises:
        ConfigError: If a value is out of range or the image is too small for the blocks.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        channels: int,
        image_size: int,
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
        feature_size = feature_map_size(image_size, widths)
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
        return self.head(self.features(images))
