"""Look at a user's own YAML before Hydra does: it may be no text, or a few lines that stand for millions."""

from pathlib import Path

import yaml  # type: ignore[import-untyped]

from cnn_classifier.errors import ConfigError

MAX_VALUES = 100_000  # values in one file, repeated ones counted each time


def check_yaml_files(*paths: Path) -> None:
    """Raise ConfigError if a YAML file, or one below a folder, cannot be read as one of a bearable size."""
    for path in (
        file for location in paths for file in ([location] if location.is_file() else sorted(location.rglob("*.yaml")))
    ):
        try:
            node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
            count = 0 if node is None else count_values(node, {})
        except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
            detail = " ".join(str(error).split())
            raise ConfigError(f"{path} cannot be read as YAML in UTF-8 ({detail}); correct it") from error
        if count > MAX_VALUES:
            raise ConfigError(
                f"{path} stands for {count:,} values, most by aliases of aliases; expected {MAX_VALUES:,}"
            )


def count_values(node: yaml.Node, counts: dict[int, int]) -> int:
    """How many values a node stands for, aliases written out; each node is counted once."""
    if id(node) not in counts:
        entries = node.value if isinstance(node, yaml.CollectionNode) else []
        children = [part for item in entries for part in (item if isinstance(item, tuple) else (item,))]
        counts[id(node)] = 1 + sum(count_values(part, counts) for part in children)
    return counts[id(node)]
