"""A tracker that dies is told of once, and the training goes on."""

import json
from pathlib import Path

import pytest
from helpers.folders import TINY, MakeFolder
from lightning.pytorch.loggers import CSVLogger

from cnn_classifier.cli.main import main
from cnn_classifier.training.loggers import FaultTolerantLogger


class Failing(CSVLogger):
    """A tracker whose server goes away after the first row."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.rows = 0

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.rows += 1
        if self.rows > 1:
            raise ConnectionError("no route to the server")
        super().log_metrics(metrics, step)


def test_a_logger_that_fails_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    failing = Failing(tmp_path)
    guarded = FaultTolerantLogger(failing)
    for step in range(5):
        guarded.log_metrics({"loss": 1.0}, step)
    guarded.save()
    guarded.finalize("success")
    assert failing.rows == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "Failing failed and is left out from here on (ConnectionError: no route to the server)" in told


def test_a_training_outlives_its_tracker(
    make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_folder({"cats": 12, "dogs": 12})
    monkeypatch.setattr(CSVLogger, "log_metrics", Failing.log_metrics)
    monkeypatch.setattr(CSVLogger, "rows", 0, raising=False)

    words = [*TINY, "dataset=folder", f"dataset.root={root}", "trainer.max_epochs=3", "logger=csv"]
    assert main(["train", *words, f"run_dir={tmp_path / 'run'}"]) == 0

    assert len(json.loads((tmp_path / "run" / "report.json").read_text())["epochs"]) == 3
    assert capsys.readouterr().err.count("CSVLogger failed") == 1
