"""Passwords and keys are not written down: not in a saved configuration, nor in a status or a report."""

import re
from collections.abc import Sequence
from typing import Any

MASK = "***"
SECRET = re.compile(r"(?:password|passwd|secret|token|(?:api|access|secret|private)_?key|credential)s?$", re.IGNORECASE)
# `scheme://user:password@host`
IN_ADDRESS = re.compile(r"(://[^/\s:@]*:)[^/\s]+@")
FROM_ENVIRONMENT = "${oc.env:"


def masked(resolved: Any, raw: Any = None, key: str = "") -> Any:
    """Plain values with what nobody else should read left out.

    Args:
        resolved: The values.
        raw: The same with their interpolations; what comes from the environment stays one, unless it is in a list.
        key: The name of the value.
    """
    if isinstance(raw, str) and FROM_ENVIRONMENT in raw:
        return raw
    if isinstance(resolved, dict):
        inner = raw if isinstance(raw, dict) else {}
        return {name: masked(value, inner.get(name), str(name)) for name, value in resolved.items()}
    if isinstance(resolved, list):
        return [masked(value, None, key) for value in resolved]
    if resolved not in (None, "") and SECRET.search(key):
        return MASK
    return masked_word(resolved) if isinstance(resolved, str) else resolved


def masked_word(word: str) -> str:
    """`name=value` and addresses likewise."""
    name, _, value = word.partition("=")
    return f"{name}={MASK}" if value and SECRET.search(name) else IN_ADDRESS.sub(rf"\1{MASK}@", word)


def masked_words(words: Sequence[str]) -> list[str]:
    """The words of a command, likewise."""
    return [masked_word(word) for word in words]
