"""Create objects from plain data: the only place where a configuration becomes code."""

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from cnn_classifier.config.signature import check_signature
from cnn_classifier.errors import CheckpointError, ClassifierError, ConfigError, install_command

# Networks of a checkpoint may come from these modules; the user can add more.
TRUSTED_PREFIXES = ("cnn_classifier.models.",)
# Functions that return a network. A checkpoint may name them, too: they are called without loading other files.
MODEL_BUILDER = re.compile(r"timm\.create_model|torchvision\.models\.(?!get_|list_)\w+")
LOADING_ARGUMENTS = ("weights", "weights_backbone", "pretrained", "pretrained_cfg", "checkpoint_path", "cache_dir")
# The optional dependency of a class, by class path.
EXTRAS = {
    "lightning.pytorch.loggers.MLFlowLogger": "mlflow",
    "lightning.pytorch.loggers.TensorBoardLogger": "tensorboard",
    "lightning.pytorch.loggers.WandbLogger": "wandb",
}
UNSUPPORTED_KEYS = ("_partial_", "_args_", "_recursive_", "_convert_")


def instantiate(node: Mapping[str, Any], expected_type: type, **kwargs: Any) -> Any:
    """Create the object that `node["_target_"]` names, with the other values as arguments.

    This is a subset of `hydra.utils.instantiate` that does not need Hydra. Nested nodes with a `_target_` are created
    first, and receive those of `kwargs` that their signature has, e.g. the optimizer for the schedules of a
    `SequentialLR`. Targets are classes, or functions of torchvision and timm that return a network. `_partial_` and
    `_args_` are refused.

    Args:
        node: Plain data with a `_target_`.
        expected_type: The type of the result. A class of another type is never called.
        kwargs: Further arguments, which override those of the node.

    Raises:
        ConfigError: If the target does not exist, has another type, or does not accept the arguments.
    """
    name = str(node.get("_target_"))
    check_supported(node)
    target = import_target(name)
    is_class = inspect.isclass(target) and issubclass(target, expected_type)
    if not (is_class or (is_model_builder(name) and inspect.isfunction(target))):
        raise ConfigError(f"_target_: {name} is not allowed here; expected a subclass of {expected_type.__name__}")
    values = {key: instantiate_nested(value, kwargs) for key, value in node.items() if key != "_target_"}
    arguments = values | kwargs
    check_signature(target, arguments, name=name, skip={*kwargs, *(k for k, v in values.items() if v is not node[k])})
    result = call(target, name, arguments)
    if not isinstance(result, expected_type):
        raise ConfigError(f"_target_: {name} returns a {type(result).__name__}; expected a {expected_type.__name__}")
    return result


def check_supported(node: Mapping[str, Any]) -> None:
    """Raise ConfigError if a node has keys of `hydra.utils.instantiate` that are not supported here."""
    for key in node:
        if key in UNSUPPORTED_KEYS:
            raise ConfigError(f"{node.get('_target_')}: {key} is not supported; give `_target_` and its arguments")


def call(target: Any, name: str, arguments: Mapping[str, Any]) -> Any:
    """Call a target, with its errors as ConfigError."""
    try:
        return target(**arguments)
    except ClassifierError:
        raise
    except ModuleNotFoundError as error:
        extra = EXTRAS.get(name)
        hint = install_command(extra) if extra else f"pip install {error.name}"
        raise ConfigError(f"{name} needs a package that is not installed; {hint}") from error
    except Exception as error:  # constructors of libraries raise their own types, such as MLflow's
        raise ConfigError(f"{name} refuses its values: {error}") from error


def instantiate_nested(value: Any, kwargs: Mapping[str, Any]) -> Any:
    """Create the nodes with a `_target_` within a value; return the value itself if there are none."""
    if isinstance(value, Mapping) and "_target_" in value:
        from torch import nn
        from torch.optim.lr_scheduler import LRScheduler

        target = import_target(str(value["_target_"]))
        if is_model_builder(str(value["_target_"])) and "num_classes" in kwargs:  # a member of an ensemble
            return instantiate_model(value, **kwargs)
        accepted = inspect.signature(target).parameters if inspect.isclass(target) else {}
        given = {key: argument for key, argument in kwargs.items() if key in accepted}
        is_schedule = inspect.isclass(target) and issubclass(target, LRScheduler)
        return instantiate(value, LRScheduler if is_schedule else nn.Module, **given)
    if isinstance(value, list | tuple) and any(isinstance(item, Mapping) and "_target_" in item for item in value):
        return [instantiate_nested(item, kwargs) for item in value]
    return value


def instantiate_model(node: Mapping[str, Any], *, num_classes: int, channels: int, image_size: int | None) -> Any:
    """Create a network.

    Args:
        node: `_target_` and arguments: one of `cnn_classifier.models`, a class of your own with the keyword arguments
            `num_classes`, `channels` and `image_size`, or a builder of `torchvision.models` or timm.
        num_classes: The number of classes K, the length of the logits.
        channels: The number of image channels.
        image_size: The side of the images in pixels, None if unknown.

    Raises:
        ConfigError: If an argument is invalid.
    """
    from torch import nn

    name = str(node.get("_target_"))
    node = dict(node) if takes_weights(node) else {key: value for key, value in node.items() if key != "weights"}
    if name.startswith("timm."):
        return instantiate({"pretrained": False} | node, nn.Module, num_classes=num_classes, in_chans=channels)
    if is_model_builder(name):
        if channels != 3:
            raise ConfigError(f"model._target_={name} requires RGB images; set dataset.channels=3")
        return instantiate(node, nn.Module, num_classes=num_classes)
    return instantiate(node, nn.Module, num_classes=num_classes, channels=channels, image_size=image_size)


def takes_weights(node: Mapping[str, Any]) -> bool:
    """Return whether `weights` is an argument of the network; otherwise it is the run from which training starts."""
    name, weights = str(node.get("_target_")), str(node.get("weights"))
    is_run = is_model_builder(name) and (weights.endswith(".ckpt") or Path(weights).is_dir())  # and not DEFAULT
    return not is_run and "weights" in inspect.signature(import_target(name)).parameters


def is_model_builder(name: str) -> bool:
    """Return whether a target is a function of torchvision or timm that returns a network."""
    return MODEL_BUILDER.fullmatch(name) is not None


def to_plain(value: Any) -> Any:
    """Convert mappings, sequences and paths to dicts, lists and strings, which `weights_only=True` loads."""
    if isinstance(value, Mapping):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def instantiate_all(nodes: Mapping[str, Mapping[str, Any] | None], expected_type: type) -> list[Any]:
    """Build every node of a group; a node set to null is left out."""
    return [instantiate(node, expected_type) for node in nodes.values() if node is not None]


def import_target(name: str) -> Any:
    """Return the class or function of a dotted name; raise `ConfigError` if it cannot be imported."""
    module_name, _, attribute_name = name.rpartition(".")
    try:
        return getattr(import_module(module_name), attribute_name)
    except (ImportError, ValueError, AttributeError, TypeError) as error:
        raise ConfigError(f"_target_: {name} cannot be imported ({error}); expected package.module.Class") from error


def check_trusted_hparams(hparams: Mapping[str, Any], trusted: Iterable[str] = ()) -> None:
    """Check the class paths in the hyperparameters of a checkpoint, before any of them is imported.

    Args:
        hparams: The hyperparameters of an `ImageClassifier`.
        trusted: Import prefixes of network classes of your own.

    Raises:
        CheckpointError: If a class path is neither ours, a network of torchvision or timm, nor trusted.
    """
    for name in find_targets(hparams.get("model")):
        if not (name.startswith((*TRUSTED_PREFIXES, *trusted)) or is_model_builder(name)):
            raise CheckpointError(
                f"the checkpoint names {name}, which is not part of cnn_classifier; "
                "if you trust it, pass --trust-module or trusted=[...]"
            )


def find_targets(node: Any) -> Iterator[str]:
    """Yield every `_target_` within plain data."""
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield str(node["_target_"])
        yield from (name for value in node.values() for name in find_targets(value))
    elif isinstance(node, list | tuple):
        yield from (name for value in node for name in find_targets(value))


def without_pretrained_weights(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return a model node that loads no other file, for networks whose weights come from a checkpoint.

    Raises:
        CheckpointError: If the node names a model that timm would download.
    """
    if members := model.get("members"):  # of an ensemble
        return dict(model) | {"members": [without_pretrained_weights(member) for member in members]}
    if not is_model_builder(str(model.get("_target_"))):
        return dict(model)
    if ":" in str(model.get("model_name", "")):
        raise CheckpointError(
            f"the checkpoint names {model['model_name']}, which timm downloads; expected a built-in model"
        )
    return {key: value for key, value in model.items() if key not in LOADING_ARGUMENTS}
