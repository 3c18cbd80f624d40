"""The named tensors of weights files: reading them, and matching their names with those of a network."""

import pickle
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cnn_classifier.errors import CheckpointError, ConfigError, install_command, single_line
from cnn_classifier.models.backbones import create_without_values, find_heads, is_torchvision, require_timm, size_option
from cnn_classifier.models.weights import WeightsSource

Weights = Mapping[str, Tensor]


def load_backbone(source: WeightsSource, image_size: int | None = None) -> Weights:
    """Read the weights of a backbone, under the names of its network and without its head.

    Args:
        source: The weights, which are downloaded if necessary.
        image_size: The image size in pixels, to which timm adapts position embeddings.

    Raises:
        CheckpointError: If the file is missing, damaged or contains the weights of another network.
    """
    weights, label = read_weights(source.fetch()), f"model.weights={source.path}"
    if source.kind in ("cache", "download") and not is_torchvision(source.backbone):
        weights = adapt_to_timm(weights, source, image_size)
    network = create_without_values(source.backbone, image_size)
    return match_state_dict(weights, network.state_dict(), heads=find_heads(network), label=label)


def adapt_to_timm(weights: Weights, source: WeightsSource, image_size: int | None) -> Weights:
    """Return weights that timm distributes under the names and in the shapes of its current network."""
    timm, options = require_timm(source.backbone), size_option(source.backbone, image_size)
    overlay = {"state_dict": dict(weights)}
    try:
        network = timm.create_model(source.backbone, pretrained=True, pretrained_cfg_overlay=overlay, **options)
    except (RuntimeError, LookupError) as error:
        raise CheckpointError(
            f"{source.path} does not contain the weights of {source.backbone} ({single_line(error)[:200]}): delete it"
        ) from error
    return network.state_dict()


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


def match_state_dict(source: Weights, target: Weights, *, heads: Sequence[str], label: str) -> Weights:
    """Return the weights of a file under the names of a network, without its head.

    Tensors are matched by name if the file has all names, or else by order.

    Args:
        source: The state dict of the file.
        target: The state dict of the network.
        heads: The names of the layers that compute the logits, whose number of classes may differ.
        label: The description of the file in an error message.

    Raises:
        CheckpointError: If the number or the shapes of the tensors differ.
    """
    metadata = getattr(target, "_metadata", None)
    source, target = float_tensors(source), float_tensors(target)
    head = tuple(f"{name}." for name in heads)
    if not set(target) - set(source) - {name for name in target if name.startswith(head)}:
        name_pairs = [(name, name) for name in target if name in source]
    elif len(source) == len(target):
        name_pairs = list(zip(source, target, strict=True))
    else:
        raise CheckpointError(f"{label} has {len(source)} tensors: expected the {len(target)} tensors of this backbone")
    matched = OrderedDict(
        (target_name, source[source_name])
        for source_name, target_name in name_pairs
        if not target_name.startswith(head)
    )
    mismatched = next((name for name, value in matched.items() if value.shape != target[name].shape), None)
    if mismatched:
        expected = tuple(target[mismatched].shape)
        shape = tuple(matched[mismatched].shape)
        raise CheckpointError(f"{label}: {mismatched} has shape {shape}: expected {expected} for this backbone")
    vars(matched)["_metadata"] = metadata  # the versions of the layers, which MNASNet requires
    return matched
