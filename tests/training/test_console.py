"""Console output of a training: the progress bar, the table of epochs, and the reason why it stopped early."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.folders import TINY, MakeFolder
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader

from cnn_classifier.cli.main import main
from cnn_classifier.progress import QUIET_VARIABLE, progress_bar
from cnn_classifier.training.callbacks.epoch_logger import format_epoch
from cnn_classifier.training.callbacks.progress_bar import count_batches
from cnn_classifier.training.environment import ignore_known_warnings

ROW = {
    "epoch": 3,
    "train/loss": 0.41,
    "train/accuracy": 0.83,
    "val/loss": 0.39,
    "val/accuracy": 0.84,
    "seconds": 12.0,
    "images_per_second": 350.4,
}


def test_epoch_line_has_all_values_and_fits_80_columns() -> None:
    assert format_epoch(ROW, 30).split() == ["3/30", "0.4100", "0.8300", "0.3900", "0.8400", "12.0", "350"]
    assert len(format_epoch(ROW | {"epoch": 9999, "seconds": 99999.9}, 9999)) <= 80


def test_slow_speeds_are_not_printed_as_zero() -> None:
    assert format_epoch(ROW | {"images_per_second": 0.34}, 30).split()[-1] == "0.34"


def test_epoch_without_validation_leaves_the_columns_empty() -> None:
    row = {name: value for name, value in ROW.items() if not name.startswith("val/")}
    line = format_epoch(row, -1)
    assert line.split() == ["3", "0.4100", "0.8300", "12.0", "350"]
    assert len(line) == len(format_epoch(ROW, 30))


class OneParameter(LightningModule):
    """A module that trains one parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch: torch.Tensor) -> torch.Tensor:
        return (self.weight - batch).square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.parametrize(
    ("limits", "total"),
    [
        ({"max_epochs": 3}, 12),
        ({"max_epochs": -1, "max_steps": 5}, 5),
        ({"max_epochs": 3, "max_steps": 5, "accumulate_grad_batches": 2}, 10),
        ({"max_epochs": 1, "limit_train_batches": 2}, 2),
        ({"max_epochs": -1, "max_time": {"seconds": 0}}, None),
    ],
)
def test_total_of_the_progress_bar(limits: dict[str, Any], total: int | None) -> None:
    ignore_known_warnings()
    options = {"accelerator": "cpu", "enable_checkpointing": False, "logger": False, "enable_progress_bar": False}
    trainer = Trainer(**options, enable_model_summary=False, **limits)
    trainer.fit(OneParameter(), DataLoader([torch.ones(1)] * 4))
    assert count_batches(trainer) == total


def test_quiet_training_prints_nothing_but_errors(
    make_folder: MakeFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [f"dataset.root={make_folder({'cats': 12, 'dogs': 12})}", "dataset=folder", f"run_dir={tmp_path / 'run'}"]
    options += ["trainer.max_epochs=1"]
    assert main(["train", "--quiet", *TINY, *options]) == 0
    assert capsys.readouterr() == ("", "")
    assert (tmp_path / "run" / "report.html").exists()
    assert main(["train", *TINY, *options, "model=nonsense", "--quiet"]) == 2
    assert "model=nonsense" in capsys.readouterr().err
    assert QUIET_VARIABLE not in os.environ


def test_quiet_and_redirected_output_have_no_progress_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert list(progress_bar([1, 2], "counting")) == [1, 2]
    assert "counting" in capsys.readouterr().err
    monkeypatch.setenv(QUIET_VARIABLE, "1")
    assert list(progress_bar([1, 2], "counting")) == [1, 2]
    monkeypatch.delenv(QUIET_VARIABLE)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    assert list(progress_bar([1, 2], "counting")) == [1, 2]
    assert capsys.readouterr().err == ""


def test_early_stopping_prints_its_reason(
    make_folder: MakeFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stop_at_once = ["callbacks=early_stopping", "callbacks.early_stopping.patience=1", "optimizer.lr=0"]
    options = [f"dataset.root={make_folder({'cats': 12, 'dogs': 12})}", "dataset=folder", "trainer.max_epochs=50"]
    assert main(["train", *TINY, *options, *stop_at_once, f"run_dir={tmp_path / 'run'}"]) == 0
    epochs = len(json.loads((tmp_path / "run" / "report.json").read_text())["epochs"])
    assert epochs < 50
    assert f"stopped after epoch {epochs}: Monitored metric val/loss did not improve" in capsys.readouterr().out
