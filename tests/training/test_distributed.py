"""Training in two processes: batches, weights and metrics equal those of one process."""

import csv
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from helpers.folders import MakeFolder

from cnn_classifier.cli.main import main
from cnn_classifier.data.loading.loader import EpochSampler
from cnn_classifier.errors import ConfigError
from cnn_classifier.sweep.processes import process_environ
from cnn_classifier.training import distributed
from cnn_classifier.training.distributed import resolve_processes
from cnn_classifier.training.status import read_status

TWO_PROCESSES = ["trainer=ddp", "trainer.devices='2'", "trainer.accelerator=cpu"]


@pytest.fixture
def overrides(make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return overrides whose only randomness is the order of 40 images; 7 validation images do not divide by two."""
    layout = {"train/cats": 20, "train/dogs": 20, "val/cats": 4, "val/dogs": 3, "test/cats": 3, "test/dogs": 3}
    root = make_folder(layout, name="my photos (1)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    Path("mine", "model").mkdir(parents=True)
    Path("mine", "model", "group.yaml").write_text("_target_: helpers.group_net.GroupNet\n", encoding="utf-8")
    common = ["model=group", "augment=none", "optimizer=sgd", "optimizer.lr=0.05", "dataset.image_size=16"]
    duration = ["trainer.max_epochs=5", "loss.label_smoothing=0.0", "callbacks.ema.decay=0.5"]
    return ["--config-dir=mine", "dataset=folder", f"dataset.root='{root}'", *common, *duration]


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
    assert [float(row["val/loss"]) for row in rows_one] == pytest.approx(
        [float(row["val/loss"]) for row in rows_two], rel=1e-5
    )
    reports = [json.loads((run / "report.json").read_text()) for run in (Path("one"), two_dir)]
    assert reports[0]["test"] == pytest.approx(reports[1]["test"], abs=1e-6)
    assert read_status(two_dir).state == "done"


def test_frozen_blocks_train_in_two_processes(overrides: list[str]) -> None:
    torch.save(torchvision.models.resnet18().state_dict(), "weights.pth")
    pretrained = ["model=pretrained", "model.backbone=resnet18", "model.weights=weights.pth", "model.freeze=0.5"]
    others = [override for override in overrides if not override.startswith(("model=", "trainer.max_epochs"))]

    assert main(["train", *others, *TWO_PROCESSES, *pretrained, "trainer.max_epochs=2", "run_dir=run"]) == 0

    report = json.loads(Path("run", "report.json").read_text())
    command = shlex.split(report["command"])
    typed = [*others, *TWO_PROCESSES, *pretrained, "trainer.max_epochs=2"]
    assert command[command.index("train") :] == ["train", *typed]  # the same arguments train the same model again
    initial = torch.load("weights.pth", weights_only=True)["conv1.weight"]
    assert not torch.equal(load_weights(Path("run"))["network.backbone.conv1.weight"], initial)


def test_error_in_two_processes_is_printed_once(overrides: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *overrides, *TWO_PROCESSES, "dataset.batch_size=4", "resume=nowhere.ckpt"]) == 4
    assert "nowhere.ckpt does not exist" in capfd.readouterr().err
    assert not list(Path("outputs").rglob("status.json"))


@pytest.mark.parametrize("sampler", ["shuffle", "balanced"])
def test_samplers_of_two_ranks_split_the_order_of_one(sampler: str) -> None:
    labels = np.array([0] * 11 + [1] * 4)
    full_order = EpochSampler(labels, seed=3, mode=sampler).batches(6)
    parts = [EpochSampler(labels, seed=3, mode=sampler, rank=rank, world_size=2).batches(3) for rank in (0, 1)]
    assert [[len(batch) for batch in part] for part in parts] == [[3, 3, 3], [2, 2, 2]]
    for first, second, both in zip(*parts, full_order, strict=True):  # two batches of 3 images are one batch of 6
        assert sorted([*first, *second]) == sorted(both)


def test_evaluation_samplers_of_two_ranks_do_not_overlap() -> None:
    labels = np.zeros(7, dtype=np.int64)
    parts = [EpochSampler(labels, seed=3, mode=None, rank=rank, world_size=2).batches(4) for rank in (0, 1)]
    assert sorted(np.concatenate([*parts[0], *parts[1]])) == list(range(7))
    assert [len(np.concatenate(part)) for part in parts] == [4, 3]


CPU = {"accelerator": "cpu", "strategy": "auto", "devices": 1, "num_nodes": 1, "sync_batchnorm": False}


@pytest.mark.parametrize(
    ("devices", "num_gpus", "processes", "own_devices"),
    [
        (2, 0, 2, None),
        ("2", 0, 2, None),
        ("1", 0, 1, 1),
        ("auto", 0, 1, 1),
        ("auto", 4, 4, None),
        (-1, 4, 4, None),
        ("-1", 4, 4, None),
        ([1], 4, 1, [1]),
        ("1,", 4, 1, [1]),
        ([0, 3], 4, 2, None),
        ("0, 3", 4, 2, None),
        ("auto", 1, 1, 1),
    ],
)
def test_num_processes_follows_from_every_spelling_of_devices(
    devices: Any, num_gpus: int, processes: int, own_devices: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distributed, "check_accelerator", lambda accelerator: num_gpus)
    trainer_config = CPU | {"accelerator": "auto", "devices": devices}
    assert resolve_processes(trainer_config) == processes
    assert trainer_config["devices"] == (devices if own_devices is None else own_devices)


@pytest.mark.parametrize(
    ("changes", "num_gpus", "message"),
    [
        ({"devices": -1}, 0, r"trainer\.devices=-1 requires a GPU; set the number of processes"),
        ({"devices": [0, 1]}, 0, r"trainer\.devices=\[0, 1\] requires a GPU"),
        ({"devices": "auto", "strategy": "ddp"}, 0, "set the number of processes"),
        ({"devices": 3}, 2, r"this machine has 2 GPU\(s\)"),
        ({"devices": [2]}, 2, r"this machine has 2 GPU\(s\)"),
        ({"devices": 0}, 0, r"trainer\.devices=0 is unknown: expected a number, auto, -1"),
        ({"devices": "two"}, 0, r"trainer\.devices=two is unknown"),
        ({"devices": []}, 0, r"trainer\.devices=\[\] is unknown"),
        ({"num_nodes": 2}, 0, r"trainer\.num_nodes=2: start the command with torchrun"),
        ({"devices": 2, "sync_batchnorm": True}, 0, r"trainer\.sync_batchnorm=true requires GPUs"),
    ],
)
def test_devices_that_do_not_exist_are_a_config_error(
    changes: dict[str, Any], num_gpus: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distributed, "check_accelerator", lambda accelerator: num_gpus)
    with pytest.raises(ConfigError, match=message):
        resolve_processes(CPU | changes)


def test_selected_gpus_are_the_visible_ones_of_the_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert process_environ(2, [1, 3])["CUDA_VISIBLE_DEVICES"] == "1,3"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    assert process_environ(2, [1, 3])["CUDA_VISIBLE_DEVICES"] == "5,7"
    assert "CUDA_VISIBLE_DEVICES" not in process_environ(2, ())
