"""Tests that train, evaluate, predict and data check treat odd images alike."""

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from helpers.folders import TINY, MakeFolder
from helpers.odd_images import ODD_IMAGES, write_odd_images

from cnn_classifier.cli.main import main

OVERRIDES = ["dataset=folder", *TINY, "trainer.max_epochs=1", "run_dir=run"]
NUM_PLAIN = 10
REASONS = {name: odd.verdict.removeprefix("bad: ") for name, odd in ODD_IMAGES.items() if odd.verdict.startswith("bad")}
READABLE = {name for name, odd in ODD_IMAGES.items() if odd.verdict.startswith("ok")}
IGNORED = Counter(Path(name).suffix or "(none)" for name, odd in ODD_IMAGES.items() if odd.verdict == "ignored")
WARNING_COUNTS = Counter(
    note for odd in ODD_IMAGES.values() for note in odd.verdict.partition("noted: ")[2].split(", ") if note
)


@pytest.fixture
def photos(make_folder: MakeFolder, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A class of plain images, and a class of plain and odd images."""
    monkeypatch.chdir(tmp_path_factory.mktemp("here"))
    root = make_folder({"odd": NUM_PLAIN, "plain": NUM_PLAIN})
    write_odd_images(root / "odd")
    return root


def run_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """Return the JSON that a command prints."""
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_train_check_evaluate_and_predict_skip_the_same_images(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *OVERRIDES, f"dataset.root={photos}", "dataset.max_unreadable=1"]) == 0
    assert f"Skipped {len(REASONS)} unreadable images" in capsys.readouterr().out
    trained = json.loads(Path("run", "report.json").read_text(encoding="utf-8"))["data"]
    checked = run_json(capsys, "data", "check", str(photos))
    evaluated = run_json(capsys, "evaluate", "run", str(photos))
    predicted = run_json(capsys, "predict", "run", str(photos))

    left_out = {Path(bad["path"]).name: bad["reason"] for bad in trained["unreadable"]}
    assert left_out.keys() == REASONS.keys()
    assert [name for name, reason in left_out.items() if REASONS[name] not in reason] == []
    assert checked["unreadable"] == trained["unreadable"]
    assert {Path(path).name: reason for path, reason in evaluated["unreadable"].items()} == left_out
    assert {Path(answer["path"]).name: answer["error"] for answer in predicted if answer["error"]} == left_out

    for summary in (trained, checked):
        assert summary["ignored"] == IGNORED
        assert {note: entry["count"] for note, entry in summary["warnings"].items()} == WARNING_COUNTS
    with Path("run", "split.csv").open(encoding="utf-8") as file:
        used = [row["path"] for row in csv.DictReader(file)]
    plain = [f"{folder}/{index:03d}.png" for folder in ("odd", "plain") for index in range(NUM_PLAIN)]
    assert sorted(used) == sorted([*plain, *(f"odd/{name}" for name in READABLE)])
    assert sum(map(sum, evaluated["confusion_matrix"])) == len(used)
    assert {answer["path"] for answer in predicted if answer["label"]} == {str(photos / path) for path in used}


def test_on_unreadable_error_ends_training_at_the_first_unreadable_image(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *OVERRIDES, f"dataset.root={photos}", "dataset.on_unreadable=error"]) == 3
    (line,) = capsys.readouterr().err.splitlines()
    name = Path(line.partition(" cannot be read (")[0]).name
    assert REASONS[name] in line
    assert f"and so {len(REASONS)} of {len(REASONS) + len(READABLE) + 2 * NUM_PLAIN} images" in line
    assert not Path("run").exists()


def test_more_unreadable_images_than_max_unreadable_end_training(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *OVERRIDES, f"dataset.root={photos}"]) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {len(REASONS)} of {len(REASONS) + len(READABLE) + 2 * NUM_PLAIN} images (")
    assert "expected at most 5% (dataset.max_unreadable); `cnn-classifier data check` lists them all" in line
    assert not Path("run").exists()
