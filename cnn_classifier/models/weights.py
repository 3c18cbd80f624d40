"""Weights that were learnt elsewhere: fetched from their makers or a file, and fitted to a network by name or order."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor

from cnn_classifier.errors import CheckpointError, ConfigError
from cnn_classifier.models.backbones import is_torchvision, timm_for

Weights = Mapping[str, Tensor]
IMAGENET = "imagenet"


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
        return timm_for(name).create_model(name, pretrained=True).state_dict()
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
        reads = read_safetensors if path.suffix == ".safetensors" else read_torch
        content = reads(path)
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


def without_counters(weights: Weights) -> Weights:
    """The tensors but for whole numbers: norms' counts of batches, which older files lack, and tables of positions."""
    return {name: value for name, value in weights.items() if value.is_floating_point()}


def fit_weights(found: Weights, wanted: Weights, *, head: str, named: str) -> Weights:
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
    found, wanted = without_counters(found), without_counters(wanted)
    if not set(wanted) - set(found) - {name for name in wanted if name.startswith(head)}:
        paired = [(name, name) for name in wanted if name in found]
    elif len(found) == len(wanted):
        paired = list(zip(found, wanted, strict=True))
    else:
        raise CheckpointError(f"{named}: {len(found)} tensors are not of this backbone, which has {len(wanted)}")
    fitting = {own: found[theirs] for theirs, own in paired if not own.startswith(head)}
    wrong = next((name for name, value in fitting.items() if value.shape != wanted[name].shape), None)
    if wrong:
        expected = tuple(wanted[wrong].shape)
        raise CheckpointError(f"{named}: {wrong} is {tuple(fitting[wrong].shape)}, and {expected} in this backbone")
    return fitting
