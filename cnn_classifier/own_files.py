"""Look at a user's own YAML before Hydra does: it may be no text, or a few lines that stand for millions."""

from pathlib import Path

import yaml  # type: ignore[import-untyped]

from cnn_classifier.errors import ConfigError

MANY = 100_000  # values in one file, repeated ones counted each time


def require_readable(*places: Path) -> None:
    """Raise ConfigError if a YAML file, or one below a folder, cannot be read as one of a bearable size."""
    for path in (
        found for place in places for found in ([place] if place.is_file() else sorted(place.rglob("*.yaml")))
    ):
        try:
            node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
            count = 0 if node is None else values_in(node, {})
        except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
            told = " ".join(str(error).split())
            raise ConfigError(f"{path} cannot be read as YAML in UTF-8 ({told}); correct it") from error
        if count > MANY:
            raise ConfigError(f"{path} stands for {count:,} values, most by aliases of aliases; expected {MANY:,}")


def values_in(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a node stands for, aliases written out; each node is counted once."""
    if id(node) not in known:
        parts = node.value if isinstance(node, yaml.CollectionNode) else []
        inner = [part for item in parts for part in (item if isinstance(item, tuple) else (item,))]
        known[id(node)] = 1 + sum(values_in(part, known) for part in inner)
    return known[id(node)]
