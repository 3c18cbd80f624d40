"""Start of a network from the weights of an earlier one, which may have learned other classes."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from cnn_classifier.errors import CheckpointError
from cnn_classifier.models.state_dicts import Weights


def copy_weights(
    network: nn.Module,
    weights: Weights,
    *,
    wider: nn.Module,
    class_names: Sequence[str],
    previous_names: Sequence[str],
) -> None:
    """Copy the weights of an earlier network of the same architecture, and for each class those of the same name.

    A new class starts with the mean of the earlier classes: its logit is then the mean of theirs, whatever constant the
    training added to all logits, which does not change the probabilities. If no class is the same, the weights of all
    classes keep their initial values.

    Args:
        network: The network, which is modified.
        weights: The state dict of the earlier network.
        wider: A network of the same architecture with one more class, which shows which weights belong to a class.
        class_names: The classes of the network.
        previous_names: The classes of the earlier network.

    Raises:
        CheckpointError: If the architectures differ; the message is the difference.
    """
    target = network.state_dict()
    if different := sorted(target.keys() ^ weights.keys()):
        owner = "the earlier network" if different[0] in weights else "this network"
        raise CheckpointError(f"only {owner} has {different[0]}")
    is_per_class = {name: value.shape != target[name].shape for name, value in wider.state_dict().items()}
    copied = {}
    for name, value in weights.items():
        if is_per_class[name]:
            value = arrange_rows(value, target[name], class_names, previous_names)
        if value.shape != target[name].shape:
            raise CheckpointError(f"{name} has shape {tuple(value.shape)} instead of {tuple(target[name].shape)}")
        copied[name] = value
    network.load_state_dict(copied)


def arrange_rows(
    previous: Tensor, initial: Tensor, class_names: Sequence[str], previous_names: Sequence[str]
) -> Tensor:
    """Return the rows of a tensor with one row per class, in the order of `class_names`.

    Args:
        previous: The rows of the earlier network, one for each of `previous_names`.
        initial: The initial rows of the network, which are returned if no class has an earlier row.
        class_names: The classes of the network.
        previous_names: The classes of the earlier network.
    """
    rows = {name: previous[index] for index, name in enumerate(previous_names)}
    if not any(name in rows for name in class_names):
        return initial
    mean = previous.float().mean(dim=0).to(previous.dtype)
    return torch.stack([rows.get(name, mean) for name in class_names])


def describe_classes(class_names: Sequence[str], previous_names: Sequence[str]) -> str:
    """Return the numbers and first names of the classes whose weights are copied, new and dropped."""
    groups = {
        "copied": [name for name in class_names if name in previous_names],
        "new": [name for name in class_names if name not in previous_names],
        "dropped": [name for name in previous_names if name not in class_names],
    }
    return "classes " + " · ".join(
        f"{group} {len(names)} ({', '.join(names[:5])}{', …' if len(names) > 5 else ''})"
        for group, names in groups.items()
        if names
    )


def suggest_arguments(previous: Mapping[str, Any], current: Mapping[str, Any]) -> str:
    """Return the overrides with which a run has the network of an earlier one.

    Args:
        previous: The `model` and `image_size` of the earlier run.
        current: Those of the run.
    """
    # Fractions such as the dropout do not change the shapes of the weights.
    overrides = [
        f"model.{key}={value}".replace(", ", ",")
        for key, value in previous["model"].items()
        if key != "weights" and not isinstance(value, float) and current["model"].get(key) != value
    ]
    if not overrides and previous["image_size"] not in (None, current["image_size"]):
        overrides = [f"dataset.image_size={previous['image_size']}"]
    return f"set {' '.join(overrides)}" if overrides else "train the same network, or without model.weights"
