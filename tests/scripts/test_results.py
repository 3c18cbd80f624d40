"""Tests of the results table of the README."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "results.py"


def make_run(folder: Path, accuracy: float, *arguments: str) -> Path:
    """Write the files of a run that the script reads."""
    folder.mkdir()
    report = {
        "command": shlex.join(["python", "train.py", *arguments]),
        "test": {"accuracy": accuracy},
        "splits": {"test": [50, 50]},
        "timing": {"total_seconds": 90.0},
        "hardware": {"cpus": 2, "accelerators": []},
    }
    (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")
    (folder / "config.yaml").write_text("trainer:\n  precision: bf16-mixed\n", encoding="utf-8")
    return folder


def test_seeds_of_one_command_are_averaged_in_one_row(tmp_path: Path) -> None:
    arguments = ["experiment=cats_dogs_best", "dataset.root=/home/me/cats"]
    runs = [
        make_run(tmp_path / str(seed), 0.9 + seed / 100, *arguments, f"seed={seed}", "run_dir=first")
        for seed in (1, 2, 3)
    ]
    runs.append(make_run(tmp_path / "other", 0.5, "model=cnn"))
    begin, end = "<!-- results: python scripts/results.py RUN RUN … -->", "<!-- end of results -->"
    page = tmp_path / "page.md"
    page.write_text(f"before\n{begin}\nold\n{end}\nafter\n", encoding="utf-8")

    subprocess.run([sys.executable, SCRIPT, *runs, "--into", page], check=True, capture_output=True)

    lines = page.read_text(encoding="utf-8").splitlines()
    assert lines[:2] == ["before", begin]
    assert lines[-2:] == [end, "after"]
    command = "`python train.py experiment=cats_dogs_best dataset.root=PATH`"
    assert lines[4] == f"| {command} | 92.0 ± 1.0 | 85.0 to 95.9 | 1.5 | 3 | 2 cores, bf16-mixed |"
    assert lines[5].startswith("| `python train.py model=cnn` | 50.0 | 40.4 to 59.6 | 1.5 | 1 |")
