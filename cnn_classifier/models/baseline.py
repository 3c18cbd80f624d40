"""The course project's starting point: Conv - ReLU - Pool twice, Flatten, Dense."""

from collections.abc import Sequence

from torch import Tensor, nn

from cnn_classifier.models.validation import check_positive, check_probability, feature_map_size


class Baseline(nn.Module):
    """A plain network to compare others with: images (B, channels, image_size, image_size) -> logits (B, num_classes).

    Args:
        num_classes: Length of the logits.
        channels: Channels of the images.
        image_size: Side of the images in pixels; the flattening head fixes it.
        widths: Filters of each Conv - ReLU - Pool block; each block halves the image.
        dense: Units of the hidden dense layer.
        dropout: Probability of dropping a hidden unit.

    Raises:
        ConfigError: If a value is out of range or the image is too small for the blocks.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        channels: int,
        image_size: int,
        widths: Sequence[int] = (32, 64),
        hidden_dim: int = 64,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        check_positive("widths", *widths)
        check_positive("hidden_dim", hidden_dim)
        check_probability("dropout", dropout)
        feature_size = feature_map_size(image_size, widths)
        in_channels = [channels, *widths[:-1]]
        blocks = [
            nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2))
            for i, o in zip(in_channels, widths, strict=True)
        ]
        self.features = nn.Sequential(*blocks)
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(widths[-1] * feature_size**2, hidden_dim),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(hidden_dim, num_classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))
