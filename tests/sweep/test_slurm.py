"""Tests of the submitit launcher, with processes of this machine in place of SLURM."""

import csv
import signal
import sys
from pathlib import Path

import pytest
from helpers.folders import MakeFolder

from cnn_classifier.cli.main import main
from cnn_classifier.training.status import read_status

pytest.importorskip("submitit")


@pytest.fixture
def argv(make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command line of a sweep on the local submitit cluster."""
    root = make_folder({"train/cats": 12, "train/dogs": 12, "test/cats": 4, "test/dogs": 4})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py"])
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    data = ["dataset=folder", f"dataset.root={root}", "dataset.image_size=16", "dataset.batch_size=8"]
    short = [
        "trainer=cpu",
        "trainer.max_epochs=2",
        "dataset.train_sizes=null",
        "model.widths=[4,8]",
        "model.stem_stride=1",
    ]
    queue = ["hydra/launcher=submitit", "hydra.launcher.cluster=local", "hydra.launcher.parameters.gpus_per_node=0"]
    return ["train", "-m", "hydra.sweep.dir=sweep", *queue, *data, *short]


def test_job_at_its_time_limit_is_requeued_and_resumes(argv: list[str]) -> None:
    number = int(signal.SIGUSR2)  # as SLURM sends it before the time limit
    stop_override = f"+callbacks.stop={{_target_:helpers.stop_at.StopAt,step:1,number:{number},parent:true}}"

    assert main([*argv, stop_override]) == 0

    assert read_status(Path("sweep/0")).state == "done"
    with Path("sweep/0/metrics.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2"]
    log = Path("sweep/0/train.log").read_text()
    assert log.index("Saving a checkpoint, then stopping.") < log.index("resuming from ")
    assert Path("sweep/best.ckpt").exists()


def test_invalid_submitit_parameters_raise_before_a_job_is_submitted(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*argv, "hydra.launcher.parameters.timeout_min=soon"]) == 2
    assert "hydra.launcher.cluster=local, parameters=" in capsys.readouterr().err

    assert main([*argv, "hydra.launcher.cluster=slurm"]) == 2  # SLURM is not installed
    assert "hydra.launcher.cluster=slurm, parameters=" in capsys.readouterr().err
    assert not Path("sweep").exists()


def test_missing_submitit_error_names_the_extra(
    argv: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)

    assert main(argv) == 2
    assert '[slurm]"' in capsys.readouterr().err
