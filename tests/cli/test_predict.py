"""The `predict` command: text, CSV and JSON distinguish a class called `unknown` from a rejection."""

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from cnn_classifier.cli.main import main
from cnn_classifier.inference.prediction import Prediction
from cnn_classifier.inference.predictor import Predictor

TOP_K = [("unknown", 0.5), ("cats", 0.25)]


class FakePredictor:
    """A predictor that accepts, rejects and cannot read `a.png`, `b.png` and `c.png`."""

    def predict_iter(self, sources: Sequence[Path], **kwargs: Any) -> Iterator[Prediction]:
        """Yield one prediction per file."""
        for path, reason in zip(sources, (None, "low_confidence"), strict=False):
            yield Prediction(str(path), "unknown", 0.5, reason is not None, reason, similarity=0.75, top_k=TOP_K)
        yield Prediction(str(sources[2]), error="the file is empty")


@pytest.fixture(autouse=True)
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Create three files in the current directory, and replace the model by a `FakePredictor`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Predictor, "load", lambda path, **kwargs: FakePredictor())
    for name in ("a.png", "b.png", "c.png"):
        Path(name).touch()


def predict(*options: str) -> int:
    return main(["predict", "model.ckpt", "a.png", "b.png", "c.png", *options])


def test_predict_prints_the_class_and_the_reason_of_a_rejection(capsys: pytest.CaptureFixture[str]) -> None:
    assert predict() == 0
    output = capsys.readouterr()
    assert output.out.splitlines() == [
        "a.png  unknown 0.5000  cats 0.2500",
        "b.png  unknown 0.5000  cats 0.2500  rejected: low_confidence",
    ]
    assert output.err == "unreadable: c.png: the file is empty\n"


def test_predict_csv_has_columns_of_rejection_and_prints_a_summary(capsys: pytest.CaptureFixture[str]) -> None:
    assert predict("--csv", "out.csv", "--top-k", "2") == 0
    assert capsys.readouterr().err.splitlines() == [
        "wrote out.csv: 3 images, 1 rejected (low_confidence 1), 1 unreadable; accepted: unknown 1",
        "unreadable: c.png: the file is empty",
    ]
    with Path("out.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert ",".join(header) == (
        "path,label,probability,rejected,rejection_reason,similarity,label_1,probability_1,label_2,probability_2,error"
    )
    top_k = ["unknown", "0.500000", "cats", "0.250000"]
    assert rows == [
        ["a.png", "unknown", "0.500000", "false", "", "0.750000", *top_k, ""],
        ["b.png", "unknown", "0.500000", "true", "low_confidence", "0.750000", *top_k, ""],
        ["c.png", *[""] * 9, "the file is empty"],
    ]


def test_predict_json_and_csv_together_print_only_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert predict("--csv", "out.csv", "--json") == 0
    accepted, rejected, unreadable = json.loads(capsys.readouterr().out)
    assert rejected == accepted | {"path": "b.png", "rejected": True, "rejection_reason": "low_confidence"}
    assert (unreadable["label"], unreadable["rejected"], unreadable["error"]) == (None, False, "the file is empty")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (".", "--csv . is a folder. Expected a file such as predictions.csv."),
        ("a.png/out.csv", "Cannot create a.png: File exists. Choose another folder."),
    ],
)
def test_predict_csv_that_cannot_be_written_fails_before_predicting(
    path: str, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delattr(FakePredictor, "predict_iter")
    assert predict("--csv", path) == 5
    assert capsys.readouterr().err == f"error: {message}\n"
