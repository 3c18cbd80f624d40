"""Backbones from torchvision and timm, and their pretrained weights."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from cnn_classifier.errors import CheckpointError, ConfigError, install_command, single_line

Weights = Mapping[str, Tensor]
IMAGENET = "imagenet"
IMAGENET_MEAN_AND_STD = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
# These return more than logits or have no linear head.
UNSUPPORTED = ("googlenet", "inception_v3", "squeezenet1_0", "squeezenet1_1")


def fetch_weights(name: str, source: str) -> Weights:
    """Return the pretrained weights of a backbone.

    Args:
        name: The name of the backbone.
        source: `imagenet`, which downloads the default weights of the library, or the path of a file.

    Raises:
        ConfigError: If the download fails.
        CheckpointError: If the file is missing or contains anything but tensors.
    """
    if source != IMAGENET:
        return read_weights(Path(source).expanduser())
    try:
        if is_torchvision(name):
            return torchvision.models.get_model_weights(name).DEFAULT.get_state_dict(progress=True, check_hash=True)
        return require_timm(name).create_model(name, pretrained=True).state_dict()
    except (OSError, RuntimeError) as error:
        raise ConfigError(
            f"model.weights={IMAGENET}: cannot download the weights of {name} ({single_line(error)}); download them "
            "on another machine and set model.weights=PATH, or set model.weights=null to train from scratch"
        ) from error


def read_weights(path: Path) -> Weights:
    """Read the named tensors of a `.safetensors` file, or of a `.pth` or `.pt` file.

    Raises:
        CheckpointError: If the file is missing or does not contain only named tensors.
    """
    if not path.is_file():
        raise CheckpointError(
            f"model.weights={path} does not exist: expected a .pth, .pt or .safetensors file, or imagenet"
        )
    try:
        reader = read_safetensors if path.suffix == ".safetensors" else read_torch
        content = reader(path)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError, LookupError) as error:
        raise CheckpointError(
            f"model.weights={path} is not a weights file: expected a .pth, .pt or .safetensors file"
        ) from error
    for wrapper in ("state_dict", "model"):
        content = content.get(wrapper, content) if isinstance(content, dict) else content
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(f"model.weights={path} contains objects other than named tensors: expected a state dict")
    return content


def read_torch(path: Path) -> Any:
    """Read the content of a file that `torch.save` wrote."""
    return torch.load(path, map_location="cpu", weights_only=True)


def read_safetensors(path: Path) -> Any:
    """Read the named tensors of a `.safetensors` file."""
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"model.weights: .safetensors files require a package that is not installed: {install_command('timm')}"
        ) from error
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(str(error)) from error


def float_tensors(weights: Weights) -> Weights:
    """Return the floating-point tensors: without batch counts, which older files lack, and index tables."""
    return {name: value for name, value in weights.items() if value.is_floating_point()}


def match_state_dict(source: Weights, target: Weights, *, head: str, label: str) -> Weights:
    """Return the weights of a file under the names of a network, without its head.

    Tensors are matched by name if the file has all names, or else by order.

    Args:
        source: The state dict of the file.
        target: The state dict of the network.
        head: The prefix of the names of the head, whose number of classes may differ.
        label: The description of the file in an error message.

    Raises:
        CheckpointError: If the number or the shapes of the tensors differ.
    """
    source, target = float_tensors(source), float_tensors(target)
    if not set(target) - set(source) - {name for name in target if name.startswith(head)}:
        name_pairs = [(name, name) for name in target if name in source]
    elif len(source) == len(target):
        name_pairs = list(zip(source, target, strict=True))
    else:
        raise CheckpointError(f"{label} has {len(source)} tensors: expected the {len(target)} tensors of this backbone")
    matched = {
        target_name: source[source_name] for source_name, target_name in name_pairs if not target_name.startswith(head)
    }
    mismatched = next((name for name, value in matched.items() if value.shape != target[name].shape), None)
    if mismatched:
        expected = tuple(target[mismatched].shape)
        shape = tuple(matched[mismatched].shape)
        raise CheckpointError(f"{label}: {mismatched} has shape {shape}: expected {expected} for this backbone")
    return matched


def is_torchvision(name: str) -> bool:
    """Return whether torchvision has a classification network of this name."""
    return name in torchvision.models.list_models(torchvision.models)


def create_backbone(name: str) -> nn.Module:
    """Create a randomly initialized classification network of torchvision, or else of timm.

    Raises:
        ConfigError: If neither library has a network of this name, or timm is not installed.
    """
    if is_torchvision(name) and name not in UNSUPPORTED:
        return torchvision.models.get_model(name, weights=None)
    timm = require_timm(name)
    return timm.create_model(name, pretrained=False)


def mean_and_std(name: str) -> dict[str, list[float]]:
    """Return the `mean` and `std`, per channel, with which the pretrained weights expect images to be normalized."""
    if is_torchvision(name):
        return IMAGENET_MEAN_AND_STD
    pretrained_cfg = require_timm(name).get_pretrained_cfg(name)
    return {"mean": list(pretrained_cfg.mean), "std": list(pretrained_cfg.std)}


def required_size(name: str) -> int | None:
    """Return the image size in pixels that a backbone requires, or `None` if it accepts any size."""
    if is_torchvision(name):
        return 224 if name.startswith("vit_") else None
    pretrained_cfg = require_timm(name).get_pretrained_cfg(name)
    return pretrained_cfg.input_size[-1] if pretrained_cfg.fixed_input_size else None


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
