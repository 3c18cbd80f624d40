"""Every odd kind of image meets the same fate in a training, an evaluation, a prediction and a check of the data."""

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from helpers.folders import TINY, MakeFolder
from helpers.odd_images import ODD_IMAGES, write_odd_images

from cnn_classifier.cli.main import main

WORDS = ["dataset=folder", *TINY, "trainer.max_epochs=1", "run_dir=run"]
PLAIN = 10
REASONS = {name: odd.verdict.removeprefix("bad: ") for name, odd in ODD_IMAGES.items() if odd.verdict.startswith("bad")}
READABLE = {name for name, odd in ODD_IMAGES.items() if odd.verdict.startswith("ok")}
IGNORED = Counter(Path(name).suffix or "(none)" for name, odd in ODD_IMAGES.items() if odd.verdict == "ignored")
NOTES = Counter(note for odd in ODD_IMAGES.values() for note in odd.verdict.partition("noted: ")[2].split(", ") if note)


@pytest.fixture
def photos(make_folder: MakeFolder, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A class of plain pictures, and one of plain and odd ones."""
    monkeypatch.chdir(tmp_path_factory.mktemp("here"))
    root = make_folder({"odd": PLAIN, "plain": PLAIN})
    write_odd_images(root / "odd")
    return root


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    """The JSON that a command prints."""
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_same_images_are_left_out_for_the_same_reasons_everywhere(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *WORDS, f"dataset.root={photos}", "dataset.max_unreadable=1"]) == 0
    assert f"Skipped {len(REASONS)} unreadable images" in capsys.readouterr().out
    trained = json.loads(Path("run", "report.json").read_text(encoding="utf-8"))["data"]
    checked = printed(capsys, "data", "check", str(photos))
    evaluated = printed(capsys, "evaluate", "run", str(photos))
    predicted = printed(capsys, "predict", "run", str(photos))

    left_out = {Path(bad["path"]).name: bad["reason"] for bad in trained["unreadable"]}
    assert left_out.keys() == REASONS.keys()
    assert [name for name, reason in left_out.items() if REASONS[name] not in reason] == []
    assert checked["unreadable"] == trained["unreadable"]
    assert {Path(path).name: reason for path, reason in evaluated["unreadable"].items()} == left_out
    assert {Path(answer["path"]).name: answer["error"] for answer in predicted if answer["error"]} == left_out

    for found in (trained, checked):
        assert found["ignored"] == IGNORED
        assert {note: held["count"] for note, held in found["warnings"].items()} == NOTES
    with Path("run", "split.csv").open(encoding="utf-8") as file:
        used = [row["path"] for row in csv.DictReader(file)]
    plain = [f"{folder}/{index:03d}.png" for folder in ("odd", "plain") for index in range(PLAIN)]
    assert sorted(used) == sorted([*plain, *(f"odd/{name}" for name in READABLE)])
    assert sum(map(sum, evaluated["confusion_matrix"])) == len(used)
    assert {answer["path"] for answer in predicted if answer["label"]} == {str(photos / path) for path in used}


def test_the_first_broken_image_ends_a_training_that_is_told_so(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *WORDS, f"dataset.root={photos}", "dataset.on_unreadable=error"]) == 3
    (line,) = capsys.readouterr().err.splitlines()
    name = Path(line.partition(" cannot be read (")[0]).name
    assert REASONS[name] in line
    assert f"and so {len(REASONS)} of {len(REASONS) + len(READABLE) + 2 * PLAIN} images" in line
    assert not Path("run").exists()


def test_more_broken_images_than_the_limit_end_a_training(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *WORDS, f"dataset.root={photos}"]) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {len(REASONS)} of {len(REASONS) + len(READABLE) + 2 * PLAIN} images (")
    assert "expected at most 5% (dataset.max_unreadable); `cnn-classifier data check` lists them all" in line
    assert not Path("run").exists()
