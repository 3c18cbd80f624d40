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

from cnn_classifier.report.intervals import wilson

ROOT = Path(__file__).parent.parent
BEGIN, END = "<!-- results: python scripts/results.py RUN RUN … -->", "<!-- end of results -->"
COLUMNS = ("command", "test accuracy, %", "95 % interval", "minutes", "seeds", "machine")

# Where things lie on the machine of the run is nobody's business.
PATHS = ("dataset.root", "dataset.source", "model.weights")
Report = Mapping[str, Any]


def command_of(report: Report) -> str:
    """What to type for such a run, without seed and paths."""
    words = []
    for word in report["command"][1:]:
        key = word.partition("=")[0]
        if key in ("seed", "run_dir") or word == "train":
            continue
        words.append(f"{key}=PATH" if key in PATHS and word != "model.weights=imagenet" else word)
    return " ".join(["python train.py", *words])


def row(command: str, reports: Sequence[Report]) -> str:
    """One line of the table."""
    accuracies = [report["test"]["accuracy"] for report in reports]
    spread = f" ± {100 * statistics.stdev(accuracies):.1f}" if len(reports) > 1 else ""
    low, high = wilson(statistics.fmean(accuracies), sum(reports[0]["splits"]["test"]))  # seeds share the test images
    minutes = statistics.fmean(report["timing"]["total_seconds"] for report in reports) / 60
    hardware = reports[0]["hardware"]
    machine = ", ".join([*(hardware["accelerators"] or [f"{hardware['cpus']} cores"]), reports[0]["precision"]])
    accuracy = f"{100 * statistics.fmean(accuracies):.1f}{spread}"
    cells = [f"`{command}`", accuracy, f"{100 * low:.1f} to {100 * high:.1f}", f"{minutes:.1f}", len(reports), machine]
    return f"| {' | '.join(map(str, cells))} |"


def read(run: Path) -> Report:
    """A run's report, and the precision it was computed with, which is the half of how fast a machine is."""
    precision = OmegaConf.load(run / "config.yaml").trainer.precision
    return json.loads((run / "report.json").read_text(encoding="utf-8")) | {"precision": precision}


def table(reports: Sequence[Report]) -> str:
    """All rows, in the order of the commands' first runs."""
    by_command: dict[str, list[Report]] = {}
    for report in reports:
        by_command.setdefault(command_of(report), []).append(report)
    header = [f"| {' | '.join(COLUMNS)} |", f"|{' --- |' * len(COLUMNS)}"]
    return "\n".join([*header, *(row(command, runs) for command, runs in by_command.items())])


def put_between_marks(text: str, inside: str) -> str:
    """The README with a new table."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"the page lacks its marks: {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{inside}\n{END}{after}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="run folders")
    parser.add_argument("--into", type=Path, default=ROOT / "README.md", help="the page with the marks")
    words = parser.parse_args()
    reports = [read(run) for run in words.runs]
    page = words.into.read_text(encoding="utf-8")
    words.into.write_text(put_between_marks(page, table(reports)), encoding="utf-8")
    print(table(reports))


if __name__ == "__main__":
    main()
