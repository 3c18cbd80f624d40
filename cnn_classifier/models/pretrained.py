"""Fine-tuning of pretrained networks from torchvision and timm."""

from collections.abc import Iterator

from torch import Tensor, nn

from cnn_classifier.errors import ConfigError
from cnn_classifier.models.backbones import create_backbone, fetch_weights, match_state_dict
from cnn_classifier.models.validation import check_probability, check_range


class Pretrained(nn.Module):
    """A backbone from torchvision or timm with a new linear head.

    Layers are unfrozen gradually, and the learning rate decreases from the head to the first block (arXiv:1801.06146).
    The constructor initializes the backbone randomly and reads no files; `load_weights` loads the pretrained weights.

    Shape:
        images (N, channels, H, W) -> logits (N, num_classes)

    Args:
        num_classes: The number of classes.
        channels: The number of image channels: 1 (grayscale, repeated three times) or 3 (RGB).
        image_size: The height and width of the images, in pixels. It is not used, because the backbone determines the
            supported sizes.
        backbone: The name of a torchvision or timm model, such as `resnet18`.
        weights: The source of the pretrained weights: `imagenet` downloads the default weights of the library, any
            other value is the path of a file, and `None` trains from scratch.
        freeze: The fraction of the run during which only the head is trained, from 0 to 1. If `auto`, the recipe sets
            0.25, or 1 for small budgets.
        unfreeze: The fraction of the run, after `freeze`, during which the blocks are unfrozen one by one, from the
            last to the first.
        layer_decay: The factor of the learning rate from one block to the block before it.
        dropout: The dropout probability of features before the head.

    Raises:
        ConfigError: If a value is out of range or the backbone is unknown.
    """

    supports_variable_size = True

    def __init__(
        self,
        *,
        num_classes: int,
        channels: int = 3,
        image_size: int | None = None,
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
        self.backbone_name, self.weights = backbone, weights
        self.freeze, self.unfreeze, self.layer_decay = freeze, unfreeze, layer_decay
        self.backbone = create_backbone(backbone)
        linear_names = [name for name, layer in self.backbone.named_modules() if isinstance(layer, nn.Linear)]
        if not linear_names:
            raise ConfigError(
                f"model.backbone={backbone} has no linear layer to replace: expected for example resnet18"
            )
        self.head_name = linear_names[-1]
        num_features = self.backbone.get_parameter(f"{self.head_name}.weight").shape[1]
        head = nn.Sequential(nn.Dropout(dropout), nn.Linear(num_features, num_classes))
        self.backbone.set_submodule(self.head_name, head)
        self.num_trainable = len(self.blocks())

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, num_classes) of normalized images (N, channels, H, W)."""
        return self.backbone(images.expand(-1, 3, -1, -1))

    def load_weights(self) -> None:
        """Load the pretrained weights of the backbone; do nothing if `weights` is `None`.

        Raises:
            ConfigError: If the weights cannot be downloaded.
            CheckpointError: If the file is missing or contains the weights of another network.
        """
        if self.weights is None:
            return
        source = fetch_weights(self.backbone_name, self.weights)
        target = create_backbone(self.backbone_name).state_dict()
        matched = match_state_dict(source, target, head=f"{self.head_name}.", label=f"model.weights={self.weights}")
        self.backbone.load_state_dict(matched, strict=False)

    def blocks(self) -> list[nn.Module]:
        """Return the units of freezing and of learning-rate decay, from the first layer to the head."""
        return list(top_level_blocks(self.backbone))

    def lr_multipliers(self) -> list[tuple[list[nn.Parameter], float]]:
        """Return the parameters of each block and the factor of their learning rate."""
        groups = [list(block.parameters()) for block in self.blocks()]
        grouped_ids = {id(parameter) for group in groups for parameter in group}
        # Position embeddings and class tokens are not part of a block.
        ungrouped = [parameter for parameter in self.parameters() if id(parameter) not in grouped_ids]
        groups = [ungrouped, *groups] if ungrouped else groups
        return [(group, self.layer_decay ** (len(groups) - 1 - depth)) for depth, group in enumerate(groups)]

    def set_progress(self, fraction: float) -> None:
        """Freeze and unfreeze blocks according to the progress of the run.

        Args:
            fraction: The completed fraction of the run, from 0 to 1.
        """
        blocks = self.blocks()
        if fraction < self.freeze or self.freeze == 1:
            self.num_trainable = 1
        elif fraction < self.freeze + self.unfreeze:
            self.num_trainable = 1 + int((len(blocks) - 1) * (fraction - self.freeze) / self.unfreeze)
        else:
            self.num_trainable = len(blocks)
        self.requires_grad_(self.num_trainable == len(blocks))  # includes parameters outside of blocks
        for block in blocks[len(blocks) - self.num_trainable :]:
            block.requires_grad_(True)
        self.train(self.training)

    def train(self, mode: bool = True) -> "Pretrained":
        """Set training mode, except for frozen blocks, whose normalization statistics must not change."""
        super().train(mode)
        blocks = self.blocks()
        for block in blocks[: len(blocks) - self.num_trainable]:
            block.eval()
        return self


def top_level_blocks(network: nn.Module) -> Iterator[nn.Module]:
    """Yield the children of a network that have parameters in order, and those of containers one by one."""
    for child in network.children():
        candidates = child.children() if isinstance(child, nn.Sequential | nn.ModuleList) else [child]
        yield from (block for block in candidates if any(True for _ in block.parameters()))
