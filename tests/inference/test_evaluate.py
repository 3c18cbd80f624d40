"""Reports of `train` and `evaluate`."""

import json
import sys
from pathlib import Path

import pytest
from helpers.folders import TINY, MakeFolder

from cnn_classifier.cli.main import main
from cnn_classifier.training import environment

OVERRIDES = [*TINY, "trainer.max_epochs=1"]


def test_train_and_evaluate_write_reports_and_print_their_paths(
    make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make_folder({"cats": 12, "dogs": 12}, name="photos")
    assert main(["train", "dataset=folder", "dataset.root=photos", "run_dir=run", *OVERRIDES]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    assert ["report", "run/report.html,", "metrics", "in", "run/report.json"] in lines
    assert "config.yaml with resolved" in Path("run", "report.html").read_text(encoding="utf-8")

    for path in sorted(Path("photos").rglob("*.png")):  # images are recognized by their content
        path.rename(path.with_name(f"renamed {path.name}"))
    assert main(["evaluate", "run", "photos", "--out", "run"]) == 2
    assert "--out run holds a training run, whose report would be replaced" in capsys.readouterr().err

    assert main(["evaluate", "run", "photos", "--json"]) == 0

    output = capsys.readouterr()
    assert "see outputs/evaluations/photos/report.html" in output.err
    report = json.loads(Path("outputs", "evaluations", "photos", "report.json").read_text(encoding="utf-8"))
    assert json.loads(output.out) == report
    splits = json.loads(Path("run", "report.json").read_text(encoding="utf-8"))["splits"]
    assert report["seen_in_training"] == {"train": sum(splits["train"]), "val": sum(splits["val"])}
    assert f"WARNING: {sum(splits['train'])} of the 24 images were in the training split of this model" in output.err
    assert {
        "intervals",
        "calibration",
        "coverage",
        "curves",
        "confused_pairs",
        "suspected_label_errors",
    } <= report.keys()
    page = Path("outputs", "evaluations", "photos", "report.html").read_text(encoding="utf-8")
    assert "Show Grad-CAM heat maps of the predicted class" in page


def test_collect_environment_works_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    with_torch = environment.collect_environment()
    monkeypatch.delitem(sys.modules, "torch")
    without_torch = environment.collect_environment()
    assert without_torch["versions"] == with_torch["versions"]
    assert without_torch["hardware"]["accelerators"] == []
    assert without_torch["hardware"]["threads"] >= 1
