"""`compare`: runs side by side, and whether the difference is real."""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn_classifier.errors import ConfigError

if TYPE_CHECKING:
    from cnn_classifier.report.comparison import Run

WIDEST = 40  # letters of a value in the table


def add_words(commands: Any) -> None:
    """Add `compare` to the command line; `commands` are argparse's sub-parsers."""
    command = commands.add_parser("compare", help="put runs side by side, and test whether they differ")
    command.add_argument(
        "runs", metavar="RUN", nargs="+", type=Path, help="folders of runs or evaluations; the first is the yardstick"
    )
    command.add_argument("--json", action="store_true", help="print the comparison as JSON")
    command.add_argument("--html", metavar="FILE", type=Path, help="write a page")
    command.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Compare, print the table or JSON, write the page."""
    from cnn_classifier.report.compare_page import write_compare_page
    from cnn_classifier.report.comparison import compare

    if len(arguments.runs) < 2:
        raise ConfigError(f"compare {arguments.runs[0]}: there is nothing to compare it with; give another run")
    found = compare([read_run(folder) for folder in arguments.runs])
    print(json.dumps(found, ensure_ascii=False) if arguments.json else text(found))
    if arguments.html:
        write_compare_page(arguments.html, found)
        print(f"see {arguments.html}", file=sys.stderr)
    return 0


def read_run(folder: Path) -> "Run":
    """A run from what it left in its folder.

    Raises:
        ConfigError: If the folder is not that of a finished run or evaluation.
    """
    from cnn_classifier.config import read_saved
    from cnn_classifier.report.comparison import Run, read_answers

    try:
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        answers = read_answers(folder)
        config = folder / "config.yaml"
        run = Run(str(folder), report, answers, dict(flat(read_saved(config))) if config.is_file() else {})
        run.row()
    except OSError as error:
        told = error.strerror or error
        raise ConfigError(f"{error.filename} cannot be read ({told}); give the folder of a finished run") from error
    except (ValueError, KeyError, TypeError) as error:
        told = f"{type(error).__name__}: {error}"
        raise ConfigError(f"{folder} holds no report of ours ({told}); give the folder of a finished run") from error
    return run


def flat(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested values as `optimizer.lr` and so on."""
    if not isinstance(node, Mapping):
        yield prefix, node
        return
    for key, value in node.items():
        yield from flat(value, f"{prefix}.{key}" if prefix else str(key))


def text(found: Mapping[str, Any]) -> str:
    """The scores, the pairs and the differences, in lines for a terminal."""
    scores = [("", "accuracy", "95 % interval", "F1 macro", "loss", "images", "seconds")]
    for row in found["runs"]:
        low, high = row["interval"]
        seconds = "" if row["seconds"] is None else f"{row['seconds']:.0f}"
        numbers = (f"{row['accuracy']:.4f}", f"{low:.4f} to {high:.4f}", f"{row['f1_macro']:.4f}", f"{row['loss']:.4f}")
        scores.append((row["run"], *numbers, str(row["images"]), seconds))
    differing = [(key, *map(short, values)) for key, values in found["differences"].items()]
    heads = [("", *(row["run"] for row in found["runs"]))] if differing else []
    blocks = [columns(scores), *(pair["says"] for pair in found["pairs"]), columns(heads + differing)]
    return "\n\n".join(filter(None, blocks))


def short(value: Any) -> str:
    """A value that fits into a column."""
    told = str(value)
    return told if len(told) <= WIDEST else f"{told[: WIDEST - 1]}…"


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows of words, each column as wide as its longest."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
