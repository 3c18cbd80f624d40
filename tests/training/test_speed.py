"""Training options for speed and regularization: train sizes, mixing, memory format, EMA and synchronization."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.folders import MakeFolder
from helpers.host_reads import HostReadCounter

from cnn_classifier.cli.main import main
from cnn_classifier.errors import ConfigError
from cnn_classifier.training.callbacks.ema import WeightEMA

QUICK = [
    "dataset=folder",
    "augment=light",
    "dataset.image_size=16",
    "dataset.batch_size=8",
    "optimizer.lr=0.01",
    "trainer=cpu",
]
CNN = ["model=cnn", "model.widths=[4]", "model.hidden_dim=8"]


@pytest.fixture(autouse=True)
def photos(make_folder: MakeFolder, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write images of cats and dogs, and a user config with a model in the working directory."""
    monkeypatch.chdir(tmp_path_factory.mktemp("work"))
    Path("mine", "model").mkdir(parents=True)
    Path("mine", "model", "pooling.yaml").write_text("_target_: helpers.pooling_net.PoolingNet\n", encoding="utf-8")
    return make_folder({"train/cats": 16, "train/dogs": 16, "test/cats": 6, "test/dogs": 6})


def train(root: Path, *overrides: str, run_dir: str = "run") -> dict[str, Any]:
    assert (
        main(["train", "--config-dir", "mine", *QUICK, f"dataset.root={root}", f"run_dir={run_dir}", *overrides]) == 0
    )
    return json.loads(Path(run_dir, "report.json").read_text(encoding="utf-8"))


def load_state(run_dir: str, name: str = "state_dict") -> dict[str, Any]:
    return torch.load(Path(run_dir, "checkpoints", "last.ckpt"), weights_only=True)[name]


def test_train_sizes_increase_with_the_epochs(photos: Path) -> None:
    report = train(
        photos, "model=pooling", "dataset.train_sizes=[8,12,16]", "trainer.max_epochs=5", "compute.compile=false"
    )
    assert [epoch["image_size"] for epoch in report["epochs"]] == [8, 12, 12, 16, 16]
    assert report["test"]["accuracy"] == 1.0


def test_train_sizes_for_a_fixed_size_network_is_an_error_before_decoding(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *QUICK, *CNN, f"dataset.root={photos}", "dataset.train_sizes=[8,16]", "run_dir=run"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "error: dataset.train_sizes=[8, 16]: cnn_classifier.models.cnn.CNN supports one image size only;"
    )
    assert not Path("run").exists()


def test_train_sizes_too_small_for_the_network_is_an_error(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    overrides = [
        "train",
        *QUICK,
        f"dataset.root={photos}",
        "model.stem_stride=2",
        "dataset.train_sizes=[16,32]",
        "run_dir=run",
    ]
    assert main([*overrides, "dataset.image_size=36", "trainer.max_epochs=1"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line == "error: dataset.train_sizes=[16, 32]: too small for 4 blocks; expected at least 32 px"


@pytest.mark.parametrize("transform", ["MixUp", "CutMix"])
def test_mixup_and_cutmix_train(photos: Path, transform: str) -> None:
    overrides = [f"+augment.mix._target_=torchvision.transforms.v2.{transform}", "+augment.mix.alpha=0.4"]
    report = train(photos, *CNN, *overrides, "trainer.max_epochs=3")
    assert 0 < report["epochs"][-1]["train/accuracy"] <= 1
    assert report["test"]["accuracy"] > 0.5


@pytest.mark.parametrize("memory_format", ["channels_last", "contiguous"])
def test_memory_format_does_not_change_the_result(photos: Path, memory_format: str) -> None:
    report = train(
        photos, *CNN, f"compute.memory_format={memory_format}", "trainer.precision=32-true", "trainer.max_epochs=3"
    )
    assert report["test"]["accuracy"] == 1.0
    config = Path("run", "config.yaml").read_text(encoding="utf-8")
    assert f"memory_format: {memory_format}\n" in config
    assert "compile: false\n" in config


def test_checkpoint_contains_averaged_and_current_weights(photos: Path) -> None:
    train(photos, *CNN, "trainer.max_epochs=2", "callbacks.ema=null", run_dir="plain")
    train(photos, *CNN, "trainer.max_epochs=2", run_dir="averaged")
    plain, average = load_state("plain"), load_state("averaged")
    assert all(torch.equal(plain[name], value) for name, value in load_state("averaged", "current_model_state").items())
    assert not all(torch.equal(plain[name], average[name]) for name in plain)
    assert torch.equal(plain["network.features.0.1.num_batches_tracked"], torch.tensor(8))


def test_resumed_run_continues_the_average(photos: Path) -> None:
    overrides = [*CNN, "scheduler=constant"]
    train(photos, *overrides, "trainer.max_epochs=3", run_dir="whole")
    train(photos, *overrides, "trainer.max_epochs=2", run_dir="parts")
    train(photos, *overrides, "trainer.max_epochs=3", "resume=auto", run_dir="parts")
    for name in ("state_dict", "current_model_state"):
        whole, parts = load_state("whole", name), load_state("parts", name)
        assert all(torch.equal(whole[key], parts[key]) for key in whole)


def test_ema_decay_is_warmed_up() -> None:
    callback = WeightEMA(decay=0.9)
    averages, weights = [torch.zeros(2), torch.zeros(1)], [torch.ones(2), torch.full((1,), 2.0)]
    callback.update(averages, weights, 0)
    torch.testing.assert_close(averages[0], torch.full((2,), 0.9))
    callback.update(averages, [torch.zeros(2), torch.zeros(1)], 1000)
    torch.testing.assert_close(averages[0], torch.full((2,), 0.81))
    counts = [torch.tensor(3)]
    callback.update(counts, [torch.tensor(7)], 5)
    assert counts == [torch.tensor(7)]
    with pytest.raises(ConfigError, match=r"^callbacks\.ema\.decay=1\.0 is out of range"):
        WeightEMA(decay=1.0)


@pytest.mark.parametrize("overrides", [["augment=strong"], [*CNN, "augment=light"]], ids=["resnet", "cnn"])
def test_training_step_does_not_synchronize_with_the_device(
    photos: Path, overrides: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = "+callbacks.count._target_=helpers.host_reads.HostReadCounter"
    monkeypatch.setattr(
        "cnn_classifier.training.callbacks.nan_guard.requires_sync", lambda device: True
    )  # as for a GPU
    no_ema = "callbacks.ema=null"  # it reads its step count, which is on the CPU
    train(photos, *overrides, "dataset.batch_size=4", "trainer.max_epochs=2", counter, no_ema)
    assert HostReadCounter.steps == 2 * 5  # 28 images in 7 steps per epoch, without the first and the last
    assert HostReadCounter.reads == 0
