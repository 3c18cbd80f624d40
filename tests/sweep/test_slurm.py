"""Jobs of a sweep that submitit runs: in processes of this machine here, in SLURM's queue elsewhere."""

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
def words(make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
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


def test_a_job_whose_time_is_up_goes_back_into_the_queue_and_on_from_its_checkpoint(words: list[str]) -> None:
    number = int(signal.SIGUSR2)  # as SLURM sends it before the time is up
    time_is_up = f"+callbacks.stop={{_target_:helpers.stop_at.StopAt,step:1,number:{number},parent:true}}"

    assert main([*words, time_is_up]) == 0

    assert read_status(Path("sweep/0")).state == "done"
    with Path("sweep/0/metrics.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2"]
    log = Path("sweep/0/train.log").read_text()
    assert log.index("stopping once this step is saved") < log.index("resuming from ")
    assert Path("sweep/best.ckpt").exists()


def test_what_submitit_refuses_is_told_before_a_job_is_queued(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "hydra.launcher.parameters.timeout_min=soon"]) == 2
    assert "hydra.launcher.cluster=local, parameters=" in capsys.readouterr().err

    assert main([*words, "hydra.launcher.cluster=slurm"]) == 2  # there is none
    assert "hydra.launcher.cluster=slurm, parameters=" in capsys.readouterr().err
    assert not Path("sweep").exists()


def test_a_missing_package_is_told_with_its_extra(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)

    assert main(words) == 2
    assert "pip install 'cnn_classifier[slurm]'" in capsys.readouterr().err
