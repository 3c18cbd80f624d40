"""Training in two processes: batches, weights and metrics equal those of one process."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from helpers.folders import MakeFolder

from cnn_classifier.cli.main import main
from cnn_classifier.data.loading.loader import EpochSampler
from cnn_classifier.errors import ConfigError
from cnn_classifier.training.distributed import num_processes
from cnn_classifier.training.status import read_status

TWO_PROCESSES = ["trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu"]


@pytest.fixture
def overrides(make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return overrides whose only randomness is the order of 37 images; 7 validation images do not divide by two."""
    root = make_folder(
        {"train/cats": 19, "train/dogs": 18, "val/cats": 4, "val/dogs": 3, "test/cats": 3, "test/dogs": 3}
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    Path("mine", "model").mkdir(parents=True)
    Path("mine", "model", "group.yaml").write_text("_target_: helpers.group_net.GroupNet\n", encoding="utf-8")
    common = ["model=group", "augment=none", "optimizer=sgd", "optimizer.lr=0.05", "dataset.image_size=16"]
    duration = ["trainer.max_epochs=5", "loss.label_smoothing=0.0", "callbacks.ema.decay=0.5"]
    return ["--config-dir=mine", "dataset=folder", f"dataset.root={root}", *common, *duration]


def load_weights(run_dir: Path) -> dict[str, torch.Tensor]:
    return torch.load(run_dir / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def test_two_processes_equal_one_process_with_twice_the_batch_size(overrides: list[str]) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [*torchrun, "-m", "cnn_classifier", "train", *overrides, "trainer=cpu", "dataset.batch_size=4"]
    process = subprocess.run(command, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert process.stdout.count("test accuracy") == 1
    (two_dir,) = Path("outputs").glob("*/*/*")  # one run directory for both processes

    assert main(["train", *overrides, "trainer=cpu", "dataset.batch_size=8", "run_dir=one"]) == 0

    one, two = load_weights(Path("one")), load_weights(two_dir)
    assert max(float((one[name] - two[name]).abs().max()) for name in one) <= 1e-6
    rows_one, rows_two = (
        list(csv.DictReader((run / "metrics.csv").read_text().splitlines())) for run in (Path("one"), two_dir)
    )
    assert [row["val/accuracy"] for row in rows_one] == [row["val/accuracy"] for row in rows_two]
    assert [float(row["val/loss"]) for row in rows_one] == pytest.approx([float(row["val/loss"]) for row in rows_two])
    reports = [json.loads((run / "report.json").read_text()) for run in (Path("one"), two_dir)]
    assert reports[0]["test"] == pytest.approx(reports[1]["test"], abs=1e-6)
    assert read_status(two_dir).state == "done"


def test_frozen_blocks_train_in_two_processes(overrides: list[str]) -> None:
    torch.save(torchvision.models.resnet18().state_dict(), "weights.pth")
    pretrained = ["model=pretrained", "model.backbone=resnet18", "model.weights=weights.pth", "model.freeze=0.5"]
    others = [override for override in overrides if not override.startswith(("model=", "trainer.max_epochs"))]

    assert main(["train", *others, *TWO_PROCESSES, *pretrained, "trainer.max_epochs=2", "run_dir=run"]) == 0

    initial = torch.load("weights.pth", weights_only=True)["conv1.weight"]
    assert not torch.equal(load_weights(Path("run"))["network.backbone.conv1.weight"], initial)


def test_error_in_two_processes_is_printed_once(overrides: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *overrides, *TWO_PROCESSES, "dataset.batch_size=4", "resume=nowhere.ckpt"]) == 4
    assert "nowhere.ckpt does not exist" in capfd.readouterr().err
    assert not list(Path("outputs").rglob("status.json"))


@pytest.mark.parametrize("sampler", ["shuffle", "balanced"])
def test_samplers_of_two_ranks_split_the_order_of_one(sampler: str) -> None:
    labels = np.array([0] * 11 + [1] * 4)
    full_order = EpochSampler(labels, seed=3, mode=sampler).indices()
    parts = [EpochSampler(labels, seed=3, mode=sampler, rank=rank, world_size=2).indices() for rank in (0, 1)]
    assert [len(part) for part in parts] == [7, 7]
    for step in range(0, 7, 3):  # two batches of 3 images are one batch of 6
        both = np.concatenate([part[step : step + 3] for part in parts])
        assert sorted(both) == sorted(full_order[:14][2 * step : 2 * step + 6])


def test_evaluation_samplers_of_two_ranks_do_not_overlap() -> None:
    labels = np.zeros(7, dtype=np.int64)
    parts = [EpochSampler(labels, seed=3, mode=None, rank=rank, world_size=2) for rank in (0, 1)]
    assert sorted(np.concatenate([part.indices() for part in parts])) == list(range(7))
    assert [len(part) for part in parts] == [4, 3]


def test_num_processes_follows_devices_and_strategy() -> None:
    trainer_config = {"accelerator": "cpu", "strategy": "auto", "devices": "auto"}
    assert num_processes(trainer_config) == 1
    assert num_processes(trainer_config | {"devices": 3}) == 3
    assert num_processes(trainer_config | {"devices": [1, 2]}) == 2
    with pytest.raises(ConfigError, match="set the number of processes"):
        num_processes(trainer_config | {"strategy": "ddp"})
