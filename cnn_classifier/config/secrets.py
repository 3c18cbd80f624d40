"""Redaction of passwords and keys in saved configs, statuses and reports."""

import re
from collections.abc import Sequence
from typing import Any

MASK = "***"
SECRET_NAME = re.compile(
    r"(?:password|passwd|secret|token|(?:api|access|secret|private)_?key|credential)s?$", re.IGNORECASE
)
# `scheme://user:password@host`
URL_PASSWORD = re.compile(r"(://[^/\s:@]*:)[^/\s]+@")
ENV_INTERPOLATION = "${oc.env:"


def redact(resolved: Any, raw: Any = None, key: str = "") -> Any:
    """Replace secrets in nested plain values by `***`.

    Args:
        resolved: The values, with interpolations resolved.
        raw: The same values with interpolations. A value that is read from an environment variable is returned as the
            interpolation, unless it is in a list.
        key: The key of the value.
    """
    if isinstance(raw, str) and ENV_INTERPOLATION in raw:
        return raw
    if isinstance(resolved, dict):
        raw_children = raw if isinstance(raw, dict) else {}
        return {name: redact(value, raw_children.get(name), str(name)) for name, value in resolved.items()}
    if isinstance(resolved, list):
        return [redact(value, None, key) for value in resolved]
    if resolved not in (None, "") and SECRET_NAME.search(key):
        return MASK
    return redact_override(resolved) if isinstance(resolved, str) else resolved


def redact_override(override: str) -> str:
    """Redact an override whose key names a secret, or the password in a URL."""
    name, _, value = override.partition("=")
    return f"{name}={MASK}" if value and SECRET_NAME.search(name) else URL_PASSWORD.sub(rf"\1{MASK}@", override)


def redact_overrides(overrides: Sequence[str]) -> list[str]:
    """Redact each override of a command."""
    return [redact_override(override) for override in overrides]
