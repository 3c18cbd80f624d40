"""A network that has seen a million photos already: one of torchvision's or timm's, with a head for our classes."""

from collections.abc import Iterator

from torch import Tensor, nn

from cnn_classifier.errors import ConfigError
from cnn_classifier.models.backbones import create_backbone, fetch_weights, match_state_dict
from cnn_classifier.models.validation import check_probability, check_range


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

    supports_variable_size = True

    def __init__(
        self,
        *,
        num_classes: int,
        channels: int,
        image_size: int,
        backbone: str = "efficientnet_b0",
        weights: str | None = "imagenet",
        freeze: float = 0.0,
        unfreeze: float = 0.0,
        layer_decay: float = 0.8,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        check_range("freeze", freeze, 0, 1)
        check_range("unfreeze", unfreeze, 0, 1)
        check_range("layer_decay", layer_decay, 0, 1)
        check_probability("dropout", dropout)
        self.backbone_name, self.weights, self.freeze, self.unfreeze, self.layer_decay = (
            backbone,
            weights,
            freeze,
            unfreeze,
            layer_decay,
        )
        self.backbone = create_backbone(backbone)
        linear_names = [name for name, layer in self.backbone.named_modules() if isinstance(layer, nn.Linear)]
        if not linear_names:
            raise ConfigError(f"model.backbone={backbone} has no dense layer to put a new head in the place of")
        self.head_name = linear_names[-1]
        num_features = self.backbone.get_parameter(f"{self.head_name}.weight").shape[1]
        head = nn.Sequential(nn.Dropout(dropout), nn.Linear(num_features, num_classes))
        self.backbone.set_submodule(self.head_name, head)
        self.num_trainable = len(self.blocks())

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
        source = fetch_weights(self.backbone_name, self.weights)
        target = create_backbone(self.backbone_name).state_dict()
        matched = match_state_dict(source, target, head=f"{self.head_name}.", label=f"model.weights={self.weights}")
        self.backbone.load_state_dict(matched, strict=False)

    def blocks(self) -> list[nn.Module]:
        """What learns or rests as one, from the first layer to the head."""
        return list(top_level_blocks(self.backbone))

    def lr_multipliers(self) -> list[tuple[list[nn.Parameter], float]]:
        """The parameters of each part, and what to multiply their learning rate by."""
        groups = [list(block.parameters()) for block in self.blocks()]
        grouped_ids = {id(parameter) for group in groups for parameter in group}
        ungrouped = [
            parameter for parameter in self.parameters() if id(parameter) not in grouped_ids
        ]  # a position, a token
        groups = [ungrouped, *groups] if ungrouped else groups
        return [(group, self.layer_decay ** (len(groups) - 1 - depth)) for depth, group in enumerate(groups)]

    def set_progress(self, fraction: float) -> None:
        """Let the parts learn whose time has come.

        Args:
            share: Of the run that is over.
        """
        blocks = self.blocks()
        if fraction < self.freeze or self.freeze == 1:
            self.num_trainable = 1
        elif fraction < self.freeze + self.unfreeze:
            self.num_trainable = 1 + int((len(blocks) - 1) * (fraction - self.freeze) / self.unfreeze)
        else:
            self.num_trainable = len(blocks)
        self.requires_grad_(self.num_trainable == len(blocks))  # a token or a position outside of all parts, too
        for block in blocks[len(blocks) - self.num_trainable :]:
            block.requires_grad_(True)
        self.train(self.training)

    def train(self, mode: bool = True) -> "Pretrained":
        """As ever, but that a part which rests keeps the statistics of its norms."""
        super().train(mode)
        blocks = self.blocks()
        for block in blocks[: len(blocks) - self.num_trainable]:
            block.eval()
        return self


def top_level_blocks(network: nn.Module) -> Iterator[nn.Module]:
    """The layers and blocks of a network in order, containers opened."""
    for child in network.children():
        candidates = child.children() if isinstance(child, nn.Sequential | nn.ModuleList) else [child]
        yield from (block for block in candidates if any(True for _ in block.parameters()))
