"""The `compare` command: metrics of several runs side by side, with tests of significance."""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnn_classifier.errors import ConfigError
from cnn_classifier.files import CONFIG_FILE, REPORT_JSON
from cnn_classifier.report.text_table import format_table

if TYPE_CHECKING:
    from cnn_classifier.report.metrics.comparison import Run

MAX_CELL_WIDTH = 40  # characters of a config value in the table
MAX_KEYS = 5  # number of keys in the line about other values that differ


def add_parser(subparsers: Any) -> None:
    """Add `compare` to the sub-parsers of argparse."""
    parser = subparsers.add_parser("compare", help="compare the metrics of runs, with tests of significance")
    parser.add_argument(
        "runs",
        metavar="RUN",
        nargs="+",
        type=Path,
        help="directories of runs or evaluations; the first is the reference",
    )
    parser.add_argument(
        "--all", action="store_true", help="also list the values that differ as a consequence of the overrides"
    )
    parser.add_argument("--json", action="store_true", help="print the comparison as JSON")
    parser.add_argument("--html", metavar="FILE", type=Path, help="write an HTML report")
    parser.set_defaults(command=run)


def run(arguments: argparse.Namespace) -> int:
    """Compare the runs, print a table or JSON, and write the HTML report."""
    from cnn_classifier.report.metrics.comparison import compare
    from cnn_classifier.report.pages.comparison import write_compare_page

    if len(arguments.runs) < 2:
        raise ConfigError(f"compare requires at least two runs, got only {arguments.runs[0]}.")
    comparison = compare([read_run(folder) for folder in arguments.runs])
    if arguments.json:
        print(json.dumps(comparison, ensure_ascii=False))
    else:
        print(format_comparison(comparison, show_all=arguments.all))
    if arguments.html:
        write_compare_page(arguments.html, comparison)
        print(f"see {arguments.html}", file=sys.stderr)
    return 0


def read_run(folder: Path) -> "Run":
    """Load a run from its directory.

    Args:
        folder: The directory of a finished run or evaluation.

    Raises:
        ConfigError: If the report, predictions or config in it cannot be read.
    """
    from cnn_classifier.config.overrides import flatten
    from cnn_classifier.config.saved import load_saved_config
    from cnn_classifier.report.metrics.comparison import Run, read_correctness
    from cnn_classifier.training.status import read_status

    try:
        report = json.loads((folder / REPORT_JSON).read_text(encoding="utf-8"))
        predictions = read_correctness(folder) if report.get("evaluated", "test") else {}
        config_path = folder / CONFIG_FILE
        config = flatten(load_saved_config(config_path)) if config_path.is_file() else {}
        status = read_status(folder)
        run = Run(str(folder), report, predictions, config, status.overrides if status else ())
        run.to_row()
    except OSError as error:
        detail = error.strerror or error
        raise ConfigError(f"Cannot read {error.filename}: {detail}. Pass the directory of a finished run.") from error
    except (ValueError, KeyError, TypeError) as error:
        detail = f"{type(error).__name__}: {error}"
        raise ConfigError(
            f"Cannot read the report in {folder}: {detail}. Pass the directory of a finished run."
        ) from error
    return run


def format_comparison(comparison: Mapping[str, Any], *, show_all: bool = False) -> str:
    """Format the metrics, the pairwise tests, the overrides and the other config differences for a terminal.

    Args:
        comparison: The return value of `compare`.
        show_all: Whether to list the other differences if there are overrides that explain them.
    """
    metric_rows = [("", "accuracy", "95 % interval", "F1 macro", "loss", "images", "seconds")]
    for row in comparison["runs"]:
        seconds, images = "" if row["seconds"] is None else f"{row['seconds']:.0f}", describe_images(row)
        cells: tuple[str, ...] = ("not measured", "", "", "")
        if row["interval"]:
            low, high = row["interval"]
            scores = (f"{row['f1_macro']:.4f}", f"{row['loss']:.4f}")
            cells = (f"{row['accuracy']:.4f}", f"{low:.4f} to {high:.4f}", *scores)
        metric_rows.append((row["run"], *cells, images, seconds))
    names, overrides = [row["run"] for row in comparison["runs"]], comparison["overrides"]
    differences = comparison["differences"]
    blocks = [
        format_table(metric_rows),
        *(pair["summary"] for pair in comparison["pairs"]),
        format_differences("overrides", names, overrides),
    ]
    if differences and overrides and not show_all:
        keys = ", ".join(list(differences)[:MAX_KEYS]) + (", …" if len(differences) > MAX_KEYS else "")
        blocks.append(f"Other values that differ as a consequence: {len(differences)} ({keys}). --all lists them.")
    else:
        blocks.append(format_differences("other values" if overrides else "", names, differences))
    return "\n\n".join(filter(None, blocks))


def describe_images(row: Mapping[str, Any]) -> str:
    """Return the number of images with their split, unless it is the test split."""
    names = {"val": " (validation)", "out_of_fold": " (out-of-fold)"}
    return f"{row['images'] or ''}{names.get(row['split'], '')}"


def format_differences(title: str, names: Sequence[str], differences: Mapping[str, Sequence[Any]]) -> str:
    """Format a table with a row for each key and a column for each run; empty if nothing differs."""
    rows = [
        (key, *("none" if value is None else truncate(value) for value in values))
        for key, values in differences.items()
    ]
    return format_table([(title, *names), *rows]) if rows else ""


def truncate(value: Any) -> str:
    """Convert a value to a string of at most `MAX_CELL_WIDTH` characters."""
    string = str(value)
    return string if len(string) <= MAX_CELL_WIDTH else f"{string[: MAX_CELL_WIDTH - 1]}…"
