"""Make an object from plain data that names its class: the one place where a configuration becomes code."""

import difflib
import inspect
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any

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


def check_signature(target: Any, arguments: Mapping[str, Any], *, name: str, skip: Iterable[str] = ()) -> None:
    """Check names and types of arguments against a signature without calling it.

    Raises:
        ConfigError: Naming the argument, its value, and what was expected.
    """
    signature = inspect.signature(target)
    accepts_kwargs = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in signature.parameters.values())
    unknown = [key for key in arguments if key not in signature.parameters]
    if unknown and not accepts_kwargs:
        raise ConfigError(f"{name} has no {unknown[0]!r}{did_you_mean(unknown[0], signature.parameters)}")
    hints = resolve_type_hints(target)
    for key, value in arguments.items():
        if key not in skip and not matches_type(value, hints.get(key, Any)):
            raise ConfigError(f"{name}: {key}={value!r} is of the wrong type; expected {describe_type(hints[key])}")


def resolve_type_hints(target: Any) -> dict[str, Any]:
    """The argument types of a class or function; none where they cannot be resolved."""
    try:
        return typing.get_type_hints(target.__init__ if inspect.isclass(target) else target)
    except (NameError, TypeError, AttributeError):
        return {}


def matches_type(value: Any, hint: Any) -> bool:
    """Whether a plain value fits a type hint; hints that plain data cannot fit are left to the constructor."""
    origin, type_args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(matches_type(value, option) for option in type_args)
    if origin is typing.Literal:
        return value in type_args
    if origin in (Sequence, list):
        return isinstance(value, list | tuple) and all(matches_type(item, type_args[0]) for item in value)
    if origin is Mapping:
        return isinstance(value, Mapping) and all(
            matches_type(name, type_args[0]) and matches_type(item, type_args[1]) for name, item in value.items()
        )
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint in (str, bool, type(None)):
        return isinstance(value, hint)
    return True


def describe_type(hint: Any) -> str:
    """A type hint in words."""
    origin, type_args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(describe_type(choice) for choice in type_args)
    if origin is typing.Literal:
        return ", ".join(str(choice) for choice in type_args)
    if origin in (Sequence, list):
        return f"a list of {describe_type(type_args[0])}"
    if origin is Mapping:
        return "a mapping such as {name: value}"
    return "null" if hint is type(None) else getattr(hint, "__name__", str(hint))


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the likeliest spelling, or all the choices."""
    names = sorted(choices)
    close_matches = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {close_matches[0]!r}?" if close_matches else f"; expected one of: {', '.join(names)}"
