"""The networks of torchvision and timm by name, and what their makers say of the images that they want."""

from typing import Any

import torchvision
from torch import nn

from cnn_classifier.errors import ConfigError

IMAGENET_MEAN_AND_STD = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
# They answer with more than logits, or have no dense head for ours to replace.
UNSUPPORTED = ("googlenet", "inception_v3", "squeezenet1_0", "squeezenet1_1")


def is_torchvision(name: str) -> bool:
    """Whether torchvision has a classification network of this name."""
    return name in torchvision.models.list_models(torchvision.models)


def create_backbone(name: str) -> nn.Module:
    """torchvision's classification network of this name, or else timm's, its weights at random.

    Raises:
        ConfigError: If there is none, or timm is needed and not installed.
    """
    if is_torchvision(name) and name not in UNSUPPORTED:
        return torchvision.models.get_model(name, weights=None)
    timm = require_timm(name)
    return timm.create_model(name, pretrained=False)


def mean_and_std(name: str) -> dict[str, list[float]]:
    """The `mean` and `std` of the images that a backbone's weights were learnt from."""
    if is_torchvision(name):
        return IMAGENET_MEAN_AND_STD
    pretrained_cfg = require_timm(name).get_pretrained_cfg(name)
    return {"mean": list(pretrained_cfg.mean), "std": list(pretrained_cfg.std)}


def required_size(name: str) -> int | None:
    """The side of the images that a backbone is made for, if it takes no other."""
    if is_torchvision(name):
        return 224 if name.startswith("vit_") else None
    pretrained_cfg = require_timm(name).get_pretrained_cfg(name)
    return pretrained_cfg.input_size[-1] if pretrained_cfg.fixed_input_size else None


def require_timm(name: str) -> Any:
    """timm, which knows a thousand networks more.

    Raises:
        ConfigError: If it does not know this one, or is not installed.
    """
    try:
        import timm
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"model.backbone={name} is none of torchvision's; timm may have it: pip install 'cnn_classifier[timm]'"
        ) from error
    if not timm.is_model(name):
        raise ConfigError(f"model.backbone={name} is unknown to torchvision and timm; expected a name such as resnet18")
    return timm
