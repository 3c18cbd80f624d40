"""Checks of configuration values: their spelling, and the signatures of classes and functions."""

import difflib
import inspect
import math
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cnn_classifier.errors import ConfigError


def check_signature(target: Any, arguments: Mapping[str, Any], *, name: str, skip: Iterable[str] = ()) -> None:
    """Check the names and types of arguments without calling the target.

    Args:
        target: The class or function.
        arguments: The arguments by name.
        name: The name of the target, for error messages.
        skip: The arguments whose type is not checked.

    Raises:
        ConfigError: If the target has no such argument, or a value has the wrong type.
    """
    signature = inspect.signature(target)
    accepts_kwargs = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in signature.parameters.values())
    unknown = [key for key in arguments if key not in signature.parameters]
    if unknown and not accepts_kwargs:
        raise ConfigError(f"{name} has no {unknown[0]!r}{did_you_mean(unknown[0], signature.parameters)}")
    hints = resolve_type_hints(target)
    for key, value in arguments.items():
        if key not in skip and not matches_type(value, hints.get(key, Any)):
            raise ConfigError(f"{name}: {key}={value!r} is of the wrong type: expected {describe_type(hints[key])}")


def check_leaves(values: Any, key: str = "", *, text_keys: Iterable[str] = ()) -> None:
    """Check that all numbers are finite, and that no text is Python's spelling of null.

    Args:
        values: A mapping, list or single value of the config.
        key: Its dotted key.
        text_keys: The keys of mappings that may contain any text, such as class names.

    Raises:
        ConfigError: If a value is invalid.
    """
    if isinstance(values, dict | list):
        items = values.items() if isinstance(values, dict) else ((None, value) for value in values)
        for name, value in items:
            if f"{key}{name}" not in text_keys:
                check_leaves(value, key if name is None else f"{key}{name}.", text_keys=text_keys)
    elif isinstance(values, float) and not math.isfinite(values):
        raise ConfigError(f"{key.rstrip('.')}={values} is out of range: expected a finite number")
    elif values == "None":
        raise ConfigError(f"{key.rstrip('.')}=None is text here: write null")


def resolve_type_hints(target: Any) -> dict[str, Any]:
    """Return the argument types of a class or function; empty if they cannot be resolved."""
    try:
        return typing.get_type_hints(target.__init__ if inspect.isclass(target) else target)
    except (NameError, TypeError, AttributeError):
        return {}


def matches_type(value: Any, hint: Any) -> bool:
    """Return whether a plain value has a type; types other than those of plain data are not checked."""
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
    """Describe a type in words, e.g. "a list of int or null"."""
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
    """Return "; did you mean 'x'?" with the most similar choice, or a list of all choices."""
    names = sorted(choices)
    close_matches = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {close_matches[0]!r}?" if close_matches else f"; expected one of: {', '.join(names)}"
