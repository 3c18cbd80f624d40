"""One training in two processes is the training in one: the same batches, weights and figures, in one folder."""

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

TWO = ["trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu"]


@pytest.fixture
def words(make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A training without anything random but the order of 37 images; validated on 7, which two cannot share evenly."""
    root = make_folder(
        {"train/cats": 19, "train/dogs": 18, "val/cats": 4, "val/dogs": 3, "test/cats": 3, "test/dogs": 3}
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    Path("mine", "model").mkdir(parents=True)
    Path("mine", "model", "group.yaml").write_text("_target_: helpers.group_net.GroupNet\n", encoding="utf-8")
    plain = ["model=group", "augment=none", "optimizer=sgd", "optimizer.lr=0.05", "dataset.image_size=16"]
    longer = ["trainer.max_epochs=5", "loss.label_smoothing=0.0", "callbacks.ema.decay=0.5"]
    return ["--config-dir=mine", "dataset=folder", f"dataset.root={root}", *plain, *longer]


def weights(run_dir: Path) -> dict[str, torch.Tensor]:
    return torch.load(run_dir / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def test_two_processes_learn_what_one_does_with_twice_the_batch(words: list[str]) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [*torchrun, "-m", "cnn_classifier", "train", *words, "trainer=cpu", "dataset.batch_size=4"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("test accuracy") == 1
    (two_dir,) = Path("outputs").glob("*/*/*")  # one folder for both

    assert main(["train", *words, "trainer=cpu", "dataset.batch_size=8", "run_dir=one"]) == 0

    one, two = weights(Path("one")), weights(two_dir)
    assert max(float((one[name] - two[name]).abs().max()) for name in one) <= 1e-6
    of_one, of_two = (
        list(csv.DictReader((run / "metrics.csv").read_text().splitlines())) for run in (Path("one"), two_dir)
    )
    assert [row["val/accuracy"] for row in of_one] == [row["val/accuracy"] for row in of_two]
    assert [float(row["val/loss"]) for row in of_one] == pytest.approx([float(row["val/loss"]) for row in of_two])
    reports = [json.loads((run / "report.json").read_text()) for run in (Path("one"), two_dir)]
    assert reports[0]["test"] == pytest.approx(reports[1]["test"], abs=1e-6)
    assert read_status(two_dir).state == "done"


def test_parts_of_a_network_may_rest_at_first(words: list[str]) -> None:
    torch.save(torchvision.models.resnet18().state_dict(), "weights.pth")
    pretrained = ["model=pretrained", "model.backbone=resnet18", "model.weights=weights.pth", "model.freeze=0.5"]
    given = [word for word in words if not word.startswith(("model=", "trainer.max_epochs"))]

    assert main(["train", *given, *TWO, *pretrained, "trainer.max_epochs=2", "run_dir=run"]) == 0

    begun = torch.load("weights.pth", weights_only=True)["conv1.weight"]
    assert not torch.equal(weights(Path("run"))["network.backbone.conv1.weight"], begun)


def test_what_is_wrong_is_told_once_with_its_exit_code(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *words, *TWO, "dataset.batch_size=4", "resume=nowhere.ckpt"]) == 4
    assert "nowhere.ckpt does not exist" in capfd.readouterr().err
    assert not list(Path("outputs").rglob("status.json"))


@pytest.mark.parametrize("sampler", ["shuffle", "balanced"])
def test_two_orders_are_one_order(sampler: str) -> None:
    labels = np.array([0] * 11 + [1] * 4)
    whole = EpochSampler(labels, seed=3, mode=sampler).indices()
    parts = [EpochSampler(labels, seed=3, mode=sampler, rank=rank, world_size=2).indices() for rank in (0, 1)]
    assert [len(part) for part in parts] == [7, 7]
    for step in range(0, 7, 3):  # batches of 3 and 3 are a batch of 6
        both = np.concatenate([part[step : step + 3] for part in parts])
        assert sorted(both) == sorted(whole[:14][2 * step : 2 * step + 6])


def test_no_image_is_evaluated_twice() -> None:
    labels = np.zeros(7, dtype=np.int64)
    parts = [EpochSampler(labels, seed=3, mode=None, rank=rank, world_size=2) for rank in (0, 1)]
    assert sorted(np.concatenate([part.indices() for part in parts])) == list(range(7))
    assert [len(part) for part in parts] == [4, 3]


def test_how_many_processes_a_training_has() -> None:
    asked = {"accelerator": "cpu", "strategy": "auto", "devices": "auto"}
    assert num_processes(asked) == 1
    assert num_processes(asked | {"devices": 3}) == 3
    assert num_processes(asked | {"devices": [1, 2]}) == 2
    with pytest.raises(ConfigError, match="say how many processes"):
        num_processes(asked | {"strategy": "ddp"})
