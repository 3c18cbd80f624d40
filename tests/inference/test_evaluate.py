"""A training and an evaluation each leave a page, and say where it is."""

import json
import sys
from pathlib import Path

import pytest
from helpers.folders import TINY, MakeFolder

from cnn_classifier.cli.main import main
from cnn_classifier.training import environment

WORDS = [*TINY, "trainer.max_epochs=1"]


def test_the_page_is_named_first_and_evaluations_have_a_folder_of_their_own(
    make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make_folder({"cats": 12, "dogs": 12}, name="photos")
    assert main(["train", "dataset=folder", "dataset.root=photos", "run_dir=run", *WORDS]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    assert lines[0] == ["report", "run/report.html,", "numbers", "in", "run/report.json"]
    assert "configuration, with every value settled" in Path("run", "report.html").read_text(encoding="utf-8")

    assert main(["evaluate", "run", "photos", "--json"]) == 0

    told = capsys.readouterr()
    assert "see outputs/evaluations/photos/report.html" in told.err
    written = json.loads(Path("outputs", "evaluations", "photos", "report.json").read_text(encoding="utf-8"))
    assert json.loads(told.out) == written
    assert {"intervals", "calibration", "coverage", "curves", "confused_pairs", "suspected_labels"} <= written.keys()
    assert "show what spoke for the answer" in Path("outputs/evaluations/photos/report.html").read_text(
        encoding="utf-8"
    )


def test_what_ran_is_told_without_torch_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with_torch = environment.collect_environment()
    monkeypatch.delitem(sys.modules, "torch")
    without = environment.collect_environment()
    assert without["versions"] == with_torch["versions"]
    assert without["hardware"]["accelerators"] == []
    assert without["hardware"]["threads"] >= 1
