"""Blocks that more than one network is made of."""

from torch import nn


class ConvBlock(nn.Sequential):
    """Conv - BatchNorm - ReLU - Pool - Dropout: images (B, in_channels, H, W) -> (B, width, H/2, W/2)."""

    def __init__(self, in_channels: int, out_channels: int, dropout: float) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),  # the norm that follows has its own shift
            nn.BatchNorm2d(out_channels),
            nn.MaxPool2d(2),  # before the ReLU: the same answer, for a quarter of its work
            nn.ReLU(inplace=True),
            # Whole maps (arXiv:1411.4280): dropping single pixels of smooth maps adds noise that the next norm's
            # statistics keep in evaluation, where there is none. Digits at 32 px, one run each: 95.3 % against 99.4 %.
            nn.Dropout2d(dropout),
        )


def init_weights(network: nn.Module) -> None:
    """He initialisation for networks of ReLUs (arXiv:1502.01852); biases start at zero."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
