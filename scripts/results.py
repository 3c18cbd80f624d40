"""The README's table of results from run folders: `python scripts/results.py RUN RUN …`.

Runs of one command that differ in their seed alone become one row: mean and standard deviation, a 95 % interval
(Wilson's, of the test images), the time each took, and where. The rows replace what stands between the marks.
"""

import argparse
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from cnn_classifier.report.metrics.intervals import wilson_interval

ROOT = Path(__file__).parent.parent
BEGIN_MARK, END_MARK = "<!-- results: python scripts/results.py RUN RUN … -->", "<!-- end of results -->"
COLUMNS = ("command", "test accuracy, %", "95 % interval", "minutes", "seeds", "machine")

# Where things lie on the machine of the run is nobody's business.
PATH_KEYS = ("dataset.root", "dataset.source", "model.weights")
Report = Mapping[str, Any]


def format_command(report: Report) -> str:
    """What to type for such a run, without seed and paths."""
    arguments = []
    for argument in report["command"][1:]:
        key = argument.partition("=")[0]
        if key in ("seed", "run_dir") or argument == "train":
            continue
        arguments.append(f"{key}=PATH" if key in PATH_KEYS and argument != "model.weights=imagenet" else argument)
    return " ".join(["python train.py", *arguments])


def format_row(command: str, reports: Sequence[Report]) -> str:
    """One line of the table."""
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
    """A run's report, and the precision it was computed with, which is the half of how fast a machine is."""
    precision = OmegaConf.load(run / "config.yaml").trainer.precision
    return json.loads((run / "report.json").read_text(encoding="utf-8")) | {"precision": precision}


def format_table(reports: Sequence[Report]) -> str:
    """All rows, in the order of the commands' first runs."""
    reports_by_command: dict[str, list[Report]] = {}
    for report in reports:
        reports_by_command.setdefault(format_command(report), []).append(report)
    header = [f"| {' | '.join(COLUMNS)} |", f"|{' --- |' * len(COLUMNS)}"]
    return "\n".join([*header, *(format_row(command, runs) for command, runs in reports_by_command.items())])


def replace_between_marks(text: str, content: str) -> str:
    """The README with a new table."""
    before, begin, rest = text.partition(BEGIN_MARK)
    _, end, after = rest.partition(END_MARK)
    if not (begin and end):
        raise SystemExit(f"the page lacks its marks: {BEGIN_MARK} and {END_MARK}")
    return f"{before}{BEGIN_MARK}\n{content}\n{END_MARK}{after}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="run folders")
    parser.add_argument("--into", type=Path, default=ROOT / "README.md", help="the page with the marks")
    arguments = parser.parse_args()
    reports = [read_report(run) for run in arguments.runs]
    page = arguments.into.read_text(encoding="utf-8")
    arguments.into.write_text(replace_between_marks(page, format_table(reports)), encoding="utf-8")
    print(format_table(reports))


if __name__ == "__main__":
    main()
