"""`FaultTolerantLogger`: a failing logger is reported once and does not stop training."""

import csv
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from helpers.folders import TINY, MakeFolder
from lightning.pytorch.loggers import CSVLogger

from cnn_classifier.cli.main import main
from cnn_classifier.config.compose import load_config
from cnn_classifier.errors import ConfigError
from cnn_classifier.training.loggers import FaultTolerantLogger, build_loggers, tracker_lock


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


class UnreachableLogger(CSVLogger):
    """A logger whose constructor cannot create its folder, as a tracker that connects at once."""

    def __init__(self, save_dir: Path) -> None:
        raise PermissionError(f"cannot create {save_dir}")


def test_logger_whose_constructor_fails_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    target = f"{__name__}.UnreachableLogger"
    loggers = build_loggers({"broken": {"_target_": target, "save_dir": "runs"}, "unused": None})
    assert loggers == []
    assert "UnreachableLogger failed and is disabled" in (message := capsys.readouterr().err)
    assert "(PermissionError: cannot create runs)" in message


@pytest.mark.parametrize(
    "node",
    [
        {"_target_": "lightning.pytorch.loggers.CSVLogger", "save_dir": "runs", "folder": "typo"},
        {"_target_": "lightning.pytorch.loggers.CSVLogger", "save_dir": "runs", "flush_logs_every_n_steps": "often"},
        {"_target_": "not_installed.Logger"},
    ],
)
def test_logger_with_invalid_arguments_raises_config_error(node: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"folder|flush_logs_every_n_steps|not_installed"):
        build_loggers({"logger": node})


def test_message_of_a_failed_tensorboard_logger_names_the_cause(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    node = {"_target_": "lightning.pytorch.loggers.TensorBoardLogger", "save_dir": str(tmp_path / "file" / "runs")}
    for logger in build_loggers({"tensorboard": node}):
        logger.log_hyperparams({"lr": 0.1})
        logger.log_metrics({"loss": 1.0}, 0)
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "NotADirectoryError" in message


def test_first_use_of_loggers_is_exclusive(tmp_path: Path) -> None:
    with ThreadPoolExecutor() as pool, tracker_lock():
        future = pool.submit(FaultTolerantLogger(CSVLogger(tmp_path)).log_metrics, {"loss": 1.0}, 0)
        with pytest.raises(TimeoutError):
            future.result(timeout=0.2)
    future.result(timeout=10)


def test_logger_receives_learning_rate_and_test_metrics(make_folder: MakeFolder, tmp_path: Path) -> None:
    root = make_folder({"cats": 12, "dogs": 12})
    overrides = [*TINY, "dataset=folder", f"dataset.root={root}", "trainer.max_epochs=1", "logger=csv"]
    assert main(["train", *overrides, f"run_dir={tmp_path / 'run'}"]) == 0
    (log,) = (tmp_path / "run" / "csv").glob("*/metrics.csv")
    with log.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert float(rows[-1]["test/accuracy"]) == pytest.approx(report["test"]["accuracy"])
    assert any(name.startswith("lr-") and row[name] for row in rows for name in row)


def test_tensorboard_logs_no_placeholder_metric() -> None:
    assert load_config(["logger=tensorboard"]).logger.tensorboard.default_hp_metric is False
