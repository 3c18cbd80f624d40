"""Layers and initialization shared by several networks."""

from torch import nn


class ConvBlock(nn.Sequential):
    """A 3x3 convolution, batch normalization, 2x2 max pooling, ReLU and dropout of whole feature maps.

    Shape:
        (N, in_channels, H, W) -> (N, out_channels, H // 2, W // 2)

    Args:
        in_channels: The number of input channels.
        out_channels: The number of output channels.
        dropout: The dropout probability of feature maps.
    """

    def __init__(self, in_channels: int, out_channels: int, dropout: float) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),  # the batch normalization has a bias
            nn.BatchNorm2d(out_channels),
            nn.MaxPool2d(2),  # before the ReLU, which commutes with it and then takes a quarter of the computation
            nn.ReLU(inplace=True),
            # Dropout of whole feature maps (arXiv:1411.4280): dropout of single pixels adds noise to the running
            # statistics of the next batch normalization, which is absent in evaluation. Accuracy on digits at 32 px,
            # one run each: 95.3 % (pixels), 99.4 % (feature maps).
            nn.Dropout2d(dropout),
        )


def init_weights(network: nn.Module) -> None:
    """Initialize the weights of convolutions and linear layers for ReLU (arXiv:1502.01852), and biases to zero."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
