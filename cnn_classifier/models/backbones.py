"""Backbones from torchvision and timm, their heads, and the image sizes that they accept."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torchvision
from torch import nn

from cnn_classifier.errors import ConfigError, install_command

IMAGENET_MEAN_AND_STD = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
TORCHVISION_SIZE = 224  # of the pretrained weights and, for networks of one size, of the network
# Without the auxiliary heads. `transform_input` adapts images to the weights, which were converted from TensorFlow.
TORCHVISION_OPTIONS = {"googlenet": {"aux_logits": False, "init_weights": False, "transform_input": True}}
TIMM_ONLY = ("inception_v3",)  # that of torchvision returns more than logits


def is_torchvision(name: str) -> bool:
    """Return whether the network of this name is that of torchvision, which takes precedence over timm."""
    return name in torchvision.models.list_models(torchvision.models) and name not in TIMM_ONLY


def create_backbone(name: str, *, num_classes: int | None = None, image_size: int | None = None) -> nn.Module:
    """Create a randomly initialized classification network of torchvision, or else of timm.

    Args:
        name: The name of the network.
        num_classes: The number of classes; `None` stands for that of the pretrained weights. Networks of torchvision
            are created with 1,000 classes.
        image_size: The height and width of the images in pixels. It is used by networks of timm that are created for
            one size, and `None` stands for that of the pretrained weights.

    Raises:
        ConfigError: If neither library has a network of this name, or timm is not installed.
    """
    if is_torchvision(name):
        return torchvision.models.get_model(name, weights=None, **TORCHVISION_OPTIONS.get(name, {}))
    timm, options = require_timm(name), size_option(name, image_size)
    return timm.create_model(name, pretrained=False, num_classes=num_classes, **options)


def find_heads(network: nn.Module) -> list[str]:
    """Return the names of the layers of a backbone that compute the logits; distilled networks have several.

    These are the layers that the library declares, or else the last linear layer, or else the last convolution.
    """
    declared = (getattr(network, "pretrained_cfg", None) or {}).get("classifier") or ()
    prefixes = [declared] if isinstance(declared, str) else list(declared)
    names = [name for prefix in prefixes or [""] if (name := find_last_layer(network, prefix))]
    return names or [name for name in [find_last_layer(network, "")] if name]


def find_last_layer(network: nn.Module, prefix: str) -> str | None:
    """Return the name of the last linear layer, or else of the last convolution, in a part of a network."""
    modules = [item for item in network.named_modules() if prefix in ("", item[0]) or item[0].startswith(f"{prefix}.")]
    for kind in (nn.Linear, nn.Conv2d):
        if names := [name for name, module in modules if isinstance(module, kind)]:
            return names[-1]
    return None


def mean_and_std(name: str) -> dict[str, list[float]]:
    """Return the `mean` and `std`, per channel, with which the pretrained weights expect images to be normalized."""
    if is_torchvision(name):
        return IMAGENET_MEAN_AND_STD
    pretrained_cfg = require_timm(name).get_pretrained_cfg(name)
    return {"mean": list(pretrained_cfg.mean), "std": list(pretrained_cfg.std)}


def native_size(name: str) -> int:
    """Return the image size of the pretrained weights of a backbone, in pixels."""
    if is_torchvision(name):
        return TORCHVISION_SIZE
    return int(require_timm(name).get_pretrained_cfg(name).input_size[-1])


def required_size(name: str, sizes: Iterable[int]) -> int | None:
    """Return the image size that a backbone requires, or `None` if it accepts all of `sizes`, in pixels."""
    size = native_size(name)
    if not is_torchvision(name) and require_timm(name).get_pretrained_cfg(name).fixed_input_size:
        return size
    return size if not accepts_sizes(name, sizes) and accepts_sizes(name, [size]) else None


def check_sizes(name: str, image_size: int, train_sizes: Sequence[int] = ()) -> None:
    """Raise `ConfigError` if a backbone for images of `image_size` fails for images of these sizes in pixels."""
    native = native_size(name)
    if not accepts_sizes(name, [image_size], image_size=image_size) and accepts_sizes(name, [native]):
        nearest = math.ceil(image_size / 32) * 32
        is_alternative = nearest != native and accepts_sizes(name, [nearest], image_size=nearest)
        raise ConfigError(
            f"dataset.image_size={image_size}: model.backbone={name} does not accept images of this size; expected "
            f"{native}" + (f", or for example {nearest}" if is_alternative else "")
        )
    if not accepts_sizes(name, train_sizes, image_size=image_size) and accepts_sizes(name, [native]):
        raise ConfigError(
            f"dataset.train_sizes={list(train_sizes)}: model.backbone={name} does not accept images of these sizes; "
            "expected dataset.train_sizes=null, so that all images have one size"
        )


def accepts_sizes(name: str, sizes: Iterable[int], *, image_size: int | None = None) -> bool:
    """Return whether a backbone can be applied to images of some sizes, by applying it to tensors without values.

    Args:
        name: The name of the backbone.
        sizes: The image sizes to try, in pixels.
        image_size: The size for which the network is created, in pixels.
    """
    network = create_without_values(name, image_size).eval()
    try:
        with torch.device("meta"), torch.no_grad():
            for size in sizes:
                network(torch.empty(1, 3, size, size))
    except Exception:  # networks report a wrong size by whichever operation fails
        return False
    return True


def create_without_values(name: str, image_size: int | None = None) -> nn.Module:
    """Create a network of tensors that have a shape but no values, which takes little time and memory."""
    try:
        with torch.device("meta"):
            return create_backbone(name, image_size=image_size)
    except NotImplementedError:  # the constructor computes with tensors, as that of RegNet does
        return create_backbone(name, image_size=image_size).to("meta")


def size_option(name: str, image_size: int | None) -> dict[str, int]:
    """Return the argument that creates a network of timm for images of another size than that of its weights."""
    timm = require_timm(name)
    if image_size in (None, native_size(name)) or not timm.get_pretrained_cfg(name).fixed_input_size:
        return {}
    option = {"img_size": int(image_size or 0)}
    try:
        with torch.device("meta"):
            timm.create_model(name, pretrained=False, **option)
    except Exception:  # the family has no such argument, or not for this size
        return {}
    return option


def require_timm(name: str) -> Any:
    """Import and return timm.

    Raises:
        ConfigError: If timm is not installed or has no network of this name.
    """
    try:
        import timm
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"model.backbone={name} is unknown to torchvision; for models of timm: {install_command('timm')}"
        ) from error
    if not timm.is_model(name):
        raise ConfigError(f"model.backbone={name} is unknown to torchvision and timm: expected for example resnet18")
    return timm
