"""Make an object from plain data that names its class: the one place where a configuration becomes code."""

import inspect
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any

from cnn_classifier.config.signature import check_signature
from cnn_classifier.errors import CheckpointError, ClassifierError, ConfigError

# Checkpoints may come from anyone: only these are imported on their word.
TRUSTED_PREFIXES = ("cnn_classifier.models.",)
# What a class needs that the base install leaves out.
EXTRAS = {
    "lightning.pytorch.loggers.MLFlowLogger": "mlflow",
    "lightning.pytorch.loggers.TensorBoardLogger": "tensorboard",
    "lightning.pytorch.loggers.WandbLogger": "wandb",
}


def instantiate(node: Mapping[str, Any], expected_type: type, **kwargs: Any) -> Any:
    """Call the class named by `node["_target_"]` with the node's other values.

    Args:
        node: Plain data with a `_target_`.
        kind: What the result must be an instance of; a class of another kind is never called.
        values: Further arguments, which win over the node's.

    Raises:
        ConfigError: If there is no such class, it is of another kind, or it does not take these values.
    """
    name = str(node.get("_target_"))
    target = import_target(name)
    if not (inspect.isclass(target) and issubclass(target, expected_type)):
        raise ConfigError(f"_target_: {name} is not allowed here; expected a subclass of {expected_type.__name__}")
    arguments = {key: value for key, value in node.items() if key != "_target_"} | kwargs
    check_signature(target, arguments, name=name, skip=kwargs)
    try:
        return target(**arguments)
    except ClassifierError:
        raise
    except ModuleNotFoundError as error:
        extra = EXTRAS.get(name)
        hint = f"pip install 'cnn_classifier[{extra}]'" if extra else f"pip install {error.name}"
        raise ConfigError(f"{name} needs a package that is not installed; {hint}") from error
    except Exception as error:  # a library's constructor raises its own kinds, such as MLflow's
        raise ConfigError(f"{name} refuses its values: {error}") from error


def instantiate_all(nodes: Mapping[str, Mapping[str, Any] | None], expected_type: type) -> list[Any]:
    """Build every node of a group; a node set to null is left out."""
    return [instantiate(node, expected_type) for node in nodes.values() if node is not None]


def import_target(name: str) -> Any:
    """The class or function of a dotted name.

    Raises:
        ConfigError: If it cannot be imported.
    """
    module_name, _, attribute_name = name.rpartition(".")
    try:
        return getattr(import_module(module_name), attribute_name)
    except (ImportError, ValueError, AttributeError, TypeError) as error:
        raise ConfigError(f"_target_: {name} cannot be imported ({error}); expected package.module.Class") from error


def check_trusted_target(node: Mapping[str, Any], trusted: Iterable[str] = ()) -> None:
    """Raise CheckpointError unless the target that a checkpoint names is ours or one that the caller vouches for."""
    name = str(node.get("_target_"))
    if not name.startswith((*TRUSTED_PREFIXES, *trusted)):
        raise CheckpointError(
            f"the checkpoint names {name}, which is not part of cnn_classifier; "
            "if you trust it, pass --trust or Predictor.load(path, trusted=[...])"
        )
