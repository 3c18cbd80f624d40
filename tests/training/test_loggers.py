"""`FaultTolerantLogger`: a failing logger is reported once and does not stop training."""

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.folders import TINY, MakeFolder
from lightning.pytorch.loggers import CSVLogger

from cnn_classifier.cli.main import main
from cnn_classifier.training.loggers import FaultTolerantLogger


class FailingLogger(CSVLogger):
    """A logger whose server is unreachable after the first row."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.rows = 0

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        self.rows += 1
        if self.rows > 1:
            raise ConnectionError("no route to the server")
        super().log_metrics(metrics, step)


def test_failing_logger_is_disabled_after_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    failing = FailingLogger(tmp_path)
    logger = FaultTolerantLogger(failing)
    for step in range(5):
        logger.log_metrics({"loss": 1.0}, step)
    logger.save()
    logger.finalize("success")
    assert failing.rows == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert (
        "FailingLogger failed and is disabled for the rest of the run (ConnectionError: no route to the server)"
        in message
    )


def test_training_continues_after_its_logger_fails(
    make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_folder({"cats": 12, "dogs": 12})
    monkeypatch.setattr(CSVLogger, "log_metrics", FailingLogger.log_metrics)
    monkeypatch.setattr(CSVLogger, "rows", 0, raising=False)

    overrides = [*TINY, "dataset=folder", f"dataset.root={root}", "trainer.max_epochs=3", "logger=csv"]
    assert main(["train", *overrides, f"run_dir={tmp_path / 'run'}"]) == 0

    assert len(json.loads((tmp_path / "run" / "report.json").read_text())["epochs"]) == 3
    assert capsys.readouterr().err.count("CSVLogger failed") == 1
