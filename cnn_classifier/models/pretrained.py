"""A network that has seen a million photos already: one of torchvision's or timm's, with a head for our classes."""

from collections.abc import Iterator

from torch import Tensor, nn

from cnn_classifier.errors import ConfigError
from cnn_classifier.models.backbones import make_backbone
from cnn_classifier.models.checks import require_share, require_within
from cnn_classifier.models.weights import fetch_weights, fit_weights


class Pretrained(nn.Module):
    """Images (B, channels, H, W) of any size -> logits (B, num_classes).

    The constructor makes the network alone, as a checkpoint needs it; `load_weights` comes before a training.

    Args:
        num_classes: Length of the logits.
        channels: Of the images; a single one is shown three times.
        image_size: The backbone takes any, as far as its makers allow.
        backbone: As torchvision calls it, such as `resnet18`, or else timm.
        weights: `imagenet` downloads its makers' best, a path is a file of weights, None starts from scratch.
        freeze: Share of the run in which the head learns alone; 1 for all of it.
        thaw: Share of the run over which the parts of the backbone then join in, the last ones first.
        layer_decay: What the learning rate is multiplied by from one part to the part before it.
        dropout: Probability of dropping a feature before the head.

    Raises:
        ConfigError: If a value is out of range, or there is no such backbone.
    """

    size_free = True

    def __init__(
        self,
        *,
        num_classes: int,
        channels: int,
        image_size: int,
        backbone: str = "efficientnet_b0",
        weights: str | None = "imagenet",
        freeze: float = 0.0,
        thaw: float = 0.0,
        layer_decay: float = 0.8,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        require_within("freeze", freeze, 0, 1)
        require_within("thaw", thaw, 0, 1)
        require_within("layer_decay", layer_decay, 0, 1)
        require_share("dropout", dropout)
        self.name, self.weights, self.freeze, self.thaw, self.layer_decay = backbone, weights, freeze, thaw, layer_decay
        self.backbone = make_backbone(backbone)
        dense = [name for name, layer in self.backbone.named_modules() if isinstance(layer, nn.Linear)]
        if not dense:
            raise ConfigError(f"model.backbone={backbone} has no dense layer to put a new head in the place of")
        self.head = dense[-1]
        features = self.backbone.get_parameter(f"{self.head}.weight").shape[1]
        head = nn.Sequential(nn.Dropout(dropout), nn.Linear(features, num_classes))
        self.backbone.set_submodule(self.head, head)
        self.learning = len(self.parts())

    def forward(self, images: Tensor) -> Tensor:
        return self.backbone(images.expand(-1, 3, -1, -1))

    def load_weights(self) -> None:
        """Start from the weights that the configuration names.

        Raises:
            ConfigError: If they cannot be downloaded.
            CheckpointError: If the file is missing, or its weights are of another network.
        """
        if self.weights is None:
            return
        found = fetch_weights(self.name, self.weights)
        wanted = make_backbone(self.name).state_dict()
        fitting = fit_weights(found, wanted, head=f"{self.head}.", named=f"model.weights={self.weights}")
        self.backbone.load_state_dict(fitting, strict=False)

    def parts(self) -> list[nn.Module]:
        """What learns or rests as one, from the first layer to the head."""
        return list(outermost(self.backbone))

    def rates(self) -> list[tuple[list[nn.Parameter], float]]:
        """The parameters of each part, and what to multiply their learning rate by."""
        groups = [list(part.parameters()) for part in self.parts()]
        inside = {id(parameter) for group in groups for parameter in group}
        loose = [parameter for parameter in self.parameters() if id(parameter) not in inside]  # a position, a token
        groups = [loose, *groups] if loose else groups
        return [(group, self.layer_decay ** (len(groups) - 1 - depth)) for depth, group in enumerate(groups)]

    def begin_epoch(self, share: float) -> None:
        """Let the parts learn whose time has come.

        Args:
            share: Of the run that is over.
        """
        parts = self.parts()
        if share < self.freeze or self.freeze == 1:
            self.learning = 1
        elif share < self.freeze + self.thaw:
            self.learning = 1 + int((len(parts) - 1) * (share - self.freeze) / self.thaw)
        else:
            self.learning = len(parts)
        self.requires_grad_(self.learning == len(parts))  # a token or a position outside of all parts, too
        for part in parts[len(parts) - self.learning :]:
            part.requires_grad_(True)
        self.train(self.training)

    def train(self, mode: bool = True) -> "Pretrained":
        """As ever, but that a part which rests keeps the statistics of its norms."""
        super().train(mode)
        parts = self.parts()
        for part in parts[: len(parts) - self.learning]:
            part.eval()
        return self


def outermost(network: nn.Module) -> Iterator[nn.Module]:
    """The layers and blocks of a network in order, containers opened."""
    for child in network.children():
        inside = child.children() if isinstance(child, nn.Sequential | nn.ModuleList) else [child]
        yield from (part for part in inside if any(True for _ in part.parameters()))
