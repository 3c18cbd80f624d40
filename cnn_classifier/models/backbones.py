"""Weights that were learnt elsewhere: fetched from their makers or a file, and fitted to a network by name or order."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from cnn_classifier.errors import CheckpointError, ConfigError

Weights = Mapping[str, Tensor]
IMAGENET = "imagenet"
IMAGENET_MEAN_AND_STD = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
# They answer with more than logits, or have no dense head for ours to replace.
UNSUPPORTED = ("googlenet", "inception_v3", "squeezenet1_0", "squeezenet1_1")


def fetch_weights(name: str, source: str) -> Weights:
    """The weights of a backbone: `imagenet` downloads its makers' best, anything else is a file.

    Raises:
        ConfigError: If the download fails.
        CheckpointError: If the file is missing, or holds anything but tensors.
    """
    if source != IMAGENET:
        return read_weights(Path(source).expanduser())
    try:
        if is_torchvision(name):
            return torchvision.models.get_model_weights(name).DEFAULT.get_state_dict(progress=True, check_hash=True)
        return require_timm(name).create_model(name, pretrained=True).state_dict()
    except (OSError, RuntimeError) as error:
        raise ConfigError(
            f"model.weights={IMAGENET}: the weights of {name} cannot be downloaded ({' '.join(str(error).split())}); "
            "download them elsewhere and give model.weights=PATH, or train from scratch with model.weights=null"
        ) from error


def read_weights(path: Path) -> Weights:
    """The tensors of a `.safetensors` file or of one that torch saved, by name.

    Raises:
        CheckpointError: If it is missing or something else.
    """
    if not path.is_file():
        raise CheckpointError(
            f"model.weights={path} does not exist; give a .pth, .pt or .safetensors file, or imagenet"
        )
    try:
        reader = read_safetensors if path.suffix == ".safetensors" else read_torch
        content = reader(path)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError, LookupError) as error:
        raise CheckpointError(
            f"model.weights={path} is no file of weights; give a .pth, .pt or .safetensors"
        ) from error
    for wrapper in ("state_dict", "model"):
        content = content.get(wrapper, content) if isinstance(content, dict) else content
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise CheckpointError(f"model.weights={path} holds more than named tensors; give a file of weights")
    return content


def read_torch(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)


def read_safetensors(path: Path) -> Any:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ModuleNotFoundError as error:
        raise ConfigError("model.weights: .safetensors files need pip install 'cnn_classifier[timm]'") from error
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(str(error)) from error


def float_tensors(weights: Weights) -> Weights:
    """The tensors but for whole numbers: norms' counts of batches, which older files lack, and tables of positions."""
    return {name: value for name, value in weights.items() if value.is_floating_point()}


def match_state_dict(source: Weights, target: Weights, *, head: str, label: str) -> Weights:
    """The weights that fit a network, under its own names; its head, which is for other classes, is left out.

    Files name the same layers in many ways, in the same order: where names differ, order and shapes must agree.

    Args:
        found: From a file.
        wanted: The network's own.
        head: What the names of its head begin with.
        named: What to call the file in an error.

    Raises:
        CheckpointError: If they are of another network.
    """
    source, target = float_tensors(source), float_tensors(target)
    if not set(target) - set(source) - {name for name in target if name.startswith(head)}:
        name_pairs = [(name, name) for name in target if name in source]
    elif len(source) == len(target):
        name_pairs = list(zip(source, target, strict=True))
    else:
        raise CheckpointError(f"{label}: {len(source)} tensors are not of this backbone, which has {len(target)}")
    matched = {
        target_name: source[source_name] for source_name, target_name in name_pairs if not target_name.startswith(head)
    }
    mismatched = next((name for name, value in matched.items() if value.shape != target[name].shape), None)
    if mismatched:
        expected = tuple(target[mismatched].shape)
        raise CheckpointError(
            f"{label}: {mismatched} is {tuple(matched[mismatched].shape)}, and {expected} in this backbone"
        )
    return matched


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
