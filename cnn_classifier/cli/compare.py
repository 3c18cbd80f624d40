"""`compare`: runs side by side, and whether the difference is real."""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn_classifier.errors import ConfigError

if TYPE_CHECKING:
    from cnn_classifier.report.metrics.comparison import Run

MAX_CELL_WIDTH = 40  # letters of a value in the table


def add_parser(subparsers: Any) -> None:
    """Add `compare` to the command line; `commands` are argparse's sub-parsers."""
    parser = subparsers.add_parser("compare", help="put runs side by side, and test whether they differ")
    parser.add_argument(
        "runs", metavar="RUN", nargs="+", type=Path, help="folders of runs or evaluations; the first is the yardstick"
    )
    parser.add_argument("--json", action="store_true", help="print the comparison as JSON")
    parser.add_argument("--html", metavar="FILE", type=Path, help="write a page")
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Compare, print the table or JSON, write the page."""
    from cnn_classifier.report.metrics.comparison import compare
    from cnn_classifier.report.pages.comparison import write_compare_page

    if len(arguments.runs) < 2:
        raise ConfigError(f"compare {arguments.runs[0]}: there is nothing to compare it with; give another run")
    comparison = compare([read_run(folder) for folder in arguments.runs])
    print(json.dumps(comparison, ensure_ascii=False) if arguments.json else format_comparison(comparison))
    if arguments.html:
        write_compare_page(arguments.html, comparison)
        print(f"see {arguments.html}", file=sys.stderr)
    return 0


def read_run(folder: Path) -> "Run":
    """A run from what it left in its folder.

    Raises:
        ConfigError: If the folder is not that of a finished run or evaluation.
    """
    from cnn_classifier.config.compose import load_saved_config
    from cnn_classifier.report.metrics.comparison import Run, read_correctness

    try:
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        predictions = read_correctness(folder)
        config = folder / "config.yaml"
        run = Run(
            str(folder), report, predictions, dict(flatten(load_saved_config(config))) if config.is_file() else {}
        )
        run.to_row()
    except OSError as error:
        detail = error.strerror or error
        raise ConfigError(f"{error.filename} cannot be read ({detail}); give the folder of a finished run") from error
    except (ValueError, KeyError, TypeError) as error:
        detail = f"{type(error).__name__}: {error}"
        raise ConfigError(f"{folder} holds no report of ours ({detail}); give the folder of a finished run") from error
    return run


def flatten(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested values as `optimizer.lr` and so on."""
    if not isinstance(node, Mapping):
        yield prefix, node
        return
    for key, value in node.items():
        yield from flatten(value, f"{prefix}.{key}" if prefix else str(key))


def format_comparison(comparison: Mapping[str, Any]) -> str:
    """The scores, the pairs and the differences, in lines for a terminal."""
    score_rows = [("", "accuracy", "95 % interval", "F1 macro", "loss", "images", "seconds")]
    for row in comparison["runs"]:
        low, high = row["interval"]
        seconds = "" if row["seconds"] is None else f"{row['seconds']:.0f}"
        numbers = (f"{row['accuracy']:.4f}", f"{low:.4f} to {high:.4f}", f"{row['f1_macro']:.4f}", f"{row['loss']:.4f}")
        score_rows.append((row["run"], *numbers, str(row["images"]), seconds))
    difference_rows = [(key, *map(truncate, values)) for key, values in comparison["differences"].items()]
    header = [("", *(row["run"] for row in comparison["runs"]))] if difference_rows else []
    blocks = [
        format_table(score_rows),
        *(pair["says"] for pair in comparison["pairs"]),
        format_table(header + difference_rows),
    ]
    return "\n\n".join(filter(None, blocks))


def truncate(value: Any) -> str:
    """A value that fits into a column."""
    string = str(value)
    return string if len(string) <= MAX_CELL_WIDTH else f"{string[: MAX_CELL_WIDTH - 1]}…"


def format_table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of words, each column as wide as its longest."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
