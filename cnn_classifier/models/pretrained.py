"""Fine-tuning of pretrained networks from torchvision and timm."""

from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from cnn_classifier.errors import ConfigError
from cnn_classifier.models.backbones import create_backbone, find_heads
from cnn_classifier.models.state_dicts import load_backbone
from cnn_classifier.models.validation import check_probability, check_range
from cnn_classifier.models.weights import AUTO, WeightsUnavailableError, require_weights


class Pretrained(nn.Module):
    """A backbone from torchvision or timm with a new linear head.

    Layers are unfrozen gradually, and the learning rate decreases from the head to the first block (arXiv:1801.06146).
    The constructor initializes the backbone randomly and reads no files; `load_weights` loads the pretrained weights.

    Shape:
        images (N, channels, H, W) -> logits (N, num_classes)

    Args:
        num_classes: The number of classes.
        channels: The number of image channels: 1 (grayscale, repeated three times) or 3 (RGB).
        image_size: The height and width of the images, in pixels. It is used by networks of timm that are created for
            one size; other networks determine the supported sizes themselves.
        backbone: The name of a torchvision or timm model, such as `resnet18`.
        weights: The source of the pretrained weights. `imagenet` takes them from an installed package, else from the
            caches of torchvision and timm, else from a download. `auto` does the same, and trains from scratch if there
            are none. `None` trains from scratch. Any other value is the path of a file.
        freeze: The fraction of the run during which only the head is trained, from 0 to 1. If `auto`, the recipe sets
            0.25, or 1 for small budgets.
        unfreeze: The fraction of the run, after `freeze`, during which the blocks are unfrozen one by one, from the
            last to the first.
        freeze_norm: Whether batch norms keep their pretrained statistics, which is more accurate for small batches.
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
        freeze_norm: bool = False,
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
        self.freeze_norm = freeze_norm
        self.image_size = image_size
        self.backbone = create_backbone(backbone, num_classes=num_classes, image_size=image_size)
        self.head_names = find_heads(self.backbone)
        if not self.head_names:
            raise ConfigError(
                f"model.backbone={backbone} has no layer of logits to replace: expected for example resnet18"
            )
        for name in self.head_names:
            head = nn.Sequential(nn.Dropout(dropout), create_head(self.backbone.get_submodule(name), num_classes))
            self.backbone.set_submodule(name, head)
        self.num_trainable = len(self.blocks())

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, num_classes) of normalized images (N, channels, H, W)."""
        return self.backbone(images.expand(-1, 3, -1, -1))

    def load_weights(self) -> None:
        """Load the pretrained weights of the backbone; do nothing if `weights` is `None`.

        Raises:
            ConfigError: If there are no such weights, or their download fails.
            CheckpointError: If the file is missing or contains the weights of another network.
        """
        if self.weights is None:
            return
        try:
            source = require_weights(self.backbone_name, self.weights)
        except WeightsUnavailableError as error:
            if self.weights != AUTO:
                raise
            print(f"warning: the backbone is trained from scratch: {error}")
            return
        self.backbone.load_state_dict(load_backbone(source, self.image_size), strict=False)

    def blocks(self) -> list[nn.Module]:
        """Return the units of freezing and of learning-rate decay, from the first layer to the head."""
        head_ids = {id(p) for name in self.head_names for p in self.backbone.get_submodule(name).parameters()}
        blocks: list[nn.Module] = []
        heads: list[nn.Module] = []
        for block in top_level_blocks(self.backbone):
            is_head = any(id(parameter) in head_ids for parameter in block.parameters())
            (heads if is_head else blocks).append(block)
        return [*blocks, heads[0] if len(heads) == 1 else nn.ModuleList(heads)]

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
        for module in self.modules():
            if self.freeze_norm and isinstance(module, _BatchNorm):
                module.eval()
        return self


def top_level_blocks(network: nn.Module) -> Iterator[nn.Module]:
    """Yield the children of a network that have parameters in order, and those of containers one by one."""
    for child in network.children():
        candidates = child.children() if isinstance(child, nn.Sequential | nn.ModuleList) else [child]
        yield from (block for block in candidates if any(True for _ in block.parameters()))


def create_head(layer: nn.Module, num_classes: int) -> nn.Module:
    """Create the layer that replaces the last layer of a backbone, which is linear or a 1x1 convolution."""
    if isinstance(layer, nn.Conv2d):
        return nn.Conv2d(layer.in_channels, num_classes, kernel_size=1)
    return nn.Linear(layer.get_parameter("weight").shape[1], num_classes)
