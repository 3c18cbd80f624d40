"""Write the results table of the README from run directories: `python scripts/results.py RUN RUN …`.

Runs of one command that differ only in their seed become one row: the mean and standard deviation of the accuracy, the
95 % Wilson interval over the test images, the mean time, and the machine. The table is written between the markers of
the page.
"""

import argparse
import json
import shlex
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from cnn_classifier.report.metrics.intervals import wilson_interval

ROOT = Path(__file__).parent.parent
BEGIN_MARK, END_MARK = "<!-- results: python scripts/results.py RUN RUN … -->", "<!-- end of results -->"
COLUMNS = ("command", "test accuracy, %", "95 % interval", "minutes", "seeds", "machine")

# Local paths, which are replaced by PATH.
PATH_KEYS = ("dataset.root", "dataset.source", "model.weights")
Report = Mapping[str, Any]


def format_command(report: Report) -> str:
    """Return the command of a run, without its seed and local paths."""
    command, arguments = report["command"], []
    for argument in shlex.split(command) if isinstance(command, str) else command:  # a list before version 0.2
        key = argument.partition("=")[0]
        if key in ("seed", "run_dir") or "=" not in argument:
            continue
        arguments.append(f"{key}=PATH" if key in PATH_KEYS and argument != "model.weights=imagenet" else argument)
    return " ".join(["python train.py", *arguments])


def format_row(command: str, reports: Sequence[Report]) -> str:
    """Return one row of the table for the runs of one command."""
    accuracies = [report["test"]["accuracy"] for report in reports]
    std_text = f" ± {100 * statistics.stdev(accuracies):.1f}" if len(reports) > 1 else ""
    low, high = wilson_interval(
        statistics.fmean(accuracies), sum(reports[0]["splits"]["test"])
    )  # seeds share the test images
    minutes = statistics.fmean(report["timing"]["total_seconds"] for report in reports) / 60
    hardware = reports[0]["hardware"]
    machine = ", ".join([*(hardware["accelerators"] or [f"{hardware['cpus']} cores"]), reports[0]["precision"]])
    accuracy = f"{100 * statistics.fmean(accuracies):.1f}{std_text}"
    cells = [f"`{command}`", accuracy, f"{100 * low:.1f} to {100 * high:.1f}", f"{minutes:.1f}", len(reports), machine]
    return f"| {' | '.join(map(str, cells))} |"


def read_report(run: Path) -> Report:
    """Return the report of a run, with the precision from its config."""
    precision = OmegaConf.load(run / "config.yaml").trainer.precision
    report: Report = json.loads((run / "report.json").read_text(encoding="utf-8")) | {"precision": precision}
    if report["test"] is None:
        raise SystemExit(f"{run} has no test metrics: it was trained without test images")
    return report


def format_table(reports: Sequence[Report]) -> str:
    """Return the table, with rows in the order in which their commands first appear."""
    reports_by_command: dict[str, list[Report]] = {}
    for report in reports:
        reports_by_command.setdefault(format_command(report), []).append(report)
    header = [f"| {' | '.join(COLUMNS)} |", f"|{' --- |' * len(COLUMNS)}"]
    return "\n".join([*header, *(format_row(command, runs) for command, runs in reports_by_command.items())])


def replace_between_marks(text: str, content: str) -> str:
    """Return the page with its table replaced.

    Raises:
        SystemExit: If the page has no markers.
    """
    before, begin, rest = text.partition(BEGIN_MARK)
    _, end, after = rest.partition(END_MARK)
    if not (begin and end):
        raise SystemExit(f"The page has no markers: expected {BEGIN_MARK} and {END_MARK}")
    return f"{before}{BEGIN_MARK}\n{content}\n{END_MARK}{after}"


def main() -> None:
    """Update the table of the page and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="run directories")
    parser.add_argument(
        "--into", type=Path, default=ROOT / "README.md", help="the page with the markers (default: README.md)"
    )
    arguments = parser.parse_args()
    reports = [read_report(run) for run in arguments.runs]
    page = arguments.into.read_text(encoding="utf-8")
    arguments.into.write_text(replace_between_marks(page, format_table(reports)), encoding="utf-8")
    print(format_table(reports))


if __name__ == "__main__":
    main()
