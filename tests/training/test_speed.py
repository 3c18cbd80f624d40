"""What makes a training faster or calmer leaves it right, and can be resumed."""

import json
from pathlib import Path

import pytest
import torch
from helpers.folders import MakeFolder
from helpers.host_reads import CountReads

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
    """Cats and dogs; the test runs in an empty folder but for a model of its own."""
    monkeypatch.chdir(tmp_path_factory.mktemp("here"))
    Path("mine", "model").mkdir(parents=True)
    Path("mine", "model", "pooling.yaml").write_text("_target_: helpers.pooling_net.PoolingNet\n", encoding="utf-8")
    return make_folder({"train/cats": 16, "train/dogs": 16, "test/cats": 6, "test/dogs": 6})


def train(root: Path, *words: str, run_dir: str = "run") -> dict:
    assert main(["train", "--config-dir", "mine", *QUICK, f"dataset.root={root}", f"run_dir={run_dir}", *words]) == 0
    return json.loads(Path(run_dir, "report.json").read_text(encoding="utf-8"))


def weights_of(run_dir: str, name: str = "state_dict") -> dict:
    return torch.load(Path(run_dir, "checkpoints", "last.ckpt"), weights_only=True)[name]


def test_images_grow_with_the_epochs_and_are_tested_whole(photos: Path) -> None:
    report = train(
        photos, "model=pooling", "dataset.train_sizes=[8,12,16]", "trainer.max_epochs=5", "compute.compile=false"
    )
    assert [epoch["image_size"] for epoch in report["epochs"]] == [8, 12, 12, 16, 16]
    assert report["test"]["accuracy"] == 1.0


def test_a_network_for_one_size_refuses_others_before_anything_is_decoded(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *QUICK, *CNN, f"dataset.root={photos}", "dataset.train_sizes=[8,16]", "run_dir=run"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "error: dataset.train_sizes=[8, 16]: cnn_classifier.models.cnn.CNN takes images of one size;"
    )
    assert not Path("run").exists()


def test_sizes_that_leave_nothing_to_the_last_block_are_refused(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "train",
        *QUICK,
        f"dataset.root={photos}",
        "model.stem_stride=2",
        "dataset.train_sizes=[16,32]",
        "run_dir=run",
    ]
    assert main([*words, "dataset.image_size=36", "trainer.max_epochs=1"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line == "error: dataset.train_sizes=[16, 32]: too small for 4 blocks; expected at least 32 px"


@pytest.mark.parametrize("mix", ["MixUp", "CutMix"])
def test_images_can_be_mixed(photos: Path, mix: str) -> None:
    words = [f"+augment.mix._target_=torchvision.transforms.v2.{mix}", "+augment.mix.alpha=0.4"]
    report = train(photos, *CNN, *words, "trainer.max_epochs=3")
    assert 0 < report["epochs"][-1]["train/accuracy"] <= 1
    assert report["test"]["accuracy"] > 0.5


@pytest.mark.parametrize("layout", ["channels_last", "contiguous"])
def test_the_layout_in_memory_changes_no_answer(photos: Path, layout: str) -> None:
    report = train(photos, *CNN, f"compute.memory_format={layout}", "trainer.precision=32-true", "trainer.max_epochs=3")
    assert report["test"]["accuracy"] == 1.0
    config = Path("run", "config.yaml").read_text(encoding="utf-8")
    assert f"layout: {layout}\n" in config
    assert "compile: false\n" in config


def test_the_average_of_the_weights_is_what_is_kept_and_the_weights_are_there_to_go_on(photos: Path) -> None:
    train(photos, *CNN, "trainer.max_epochs=2", "callbacks.ema=null", run_dir="plain")
    train(photos, *CNN, "trainer.max_epochs=2", run_dir="averaged")
    plain, average = weights_of("plain"), weights_of("averaged")
    assert all(torch.equal(plain[name], value) for name, value in weights_of("averaged", "current_model_state").items())
    assert not all(torch.equal(plain[name], average[name]) for name in plain)
    assert torch.equal(plain["network.features.0.1.num_batches_tracked"], torch.tensor(6))


def test_a_resumed_run_goes_on_with_its_average(photos: Path) -> None:
    words = [*CNN, "scheduler=constant"]
    train(photos, *words, "trainer.max_epochs=3", run_dir="whole")
    train(photos, *words, "trainer.max_epochs=2", run_dir="parts")
    train(photos, *words, "trainer.max_epochs=3", "resume=auto", run_dir="parts")
    for name in ("state_dict", "current_model_state"):
        whole, parts = weights_of("whole", name), weights_of("parts", name)
        assert all(torch.equal(whole[key], parts[key]) for key in whole)


def test_an_average_follows_at_once_and_is_calm_later() -> None:
    callback = WeightEMA(decay=0.9)
    averages, weights = [torch.zeros(2), torch.zeros(1)], [torch.ones(2), torch.full((1,), 2.0)]
    callback.update(averages, weights, 0)
    torch.testing.assert_close(averages[0], torch.full((2,), 0.9))
    callback.update(averages, [torch.zeros(2), torch.zeros(1)], 1000)
    torch.testing.assert_close(averages[0], torch.full((2,), 0.81))
    counts = [torch.tensor(3)]
    callback.update(counts, [torch.tensor(7)], 5)
    assert counts == [torch.tensor(7)]
    with pytest.raises(ConfigError, match=r"^callbacks\.average\.decay=1\.0 is out of range"):
        WeightEMA(decay=1.0)


@pytest.mark.parametrize("words", [["augment=strong"], [*CNN, "augment=light"]], ids=["resnet", "cnn"])
def test_a_steady_step_reads_nothing_back_from_the_device(
    photos: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    count = "+callbacks.count._target_=helpers.host_reads.CountReads"
    monkeypatch.setattr("cnn_classifier.training.callbacks.nan_guard.requires_sync", lambda device: True)  # as on a GPU
    counter_on_the_cpu = "callbacks.ema=null"  # of the average: to read it waits for nothing
    train(photos, *words, "dataset.batch_size=4", "trainer.max_epochs=2", count, counter_on_the_cpu)
    assert CountReads.steps == 2 * 5  # of 28 images
    assert CountReads.reads == 0
