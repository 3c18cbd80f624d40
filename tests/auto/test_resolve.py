"""`python train.py dataset=folder dataset.root=PATH` and no word more: everything is settled, told, and kept."""

import json
from pathlib import Path

import pytest
import torch
import torchvision
from helpers.folders import MakeFolder
from omegaconf import OmegaConf

from cnn_classifier import Predictor
from cnn_classifier.cli.main import main


@pytest.fixture(autouse=True)
def photos(make_folder: MakeFolder, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Cats and dogs; the test runs in an empty folder."""
    monkeypatch.chdir(tmp_path_factory.mktemp("here"))
    return make_folder({"cats": 20, "dogs": 20}, size=64)


def train(photos: Path, *words: str) -> dict:
    assert main(["train", "dataset=folder", f"dataset.root={photos}", "run_dir=run", *words]) == 0
    return json.loads(Path("run", "report.json").read_text(encoding="utf-8"))


def test_what_was_auto_is_told_with_its_reason_and_stands_in_the_config_of_the_run(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(photos, "budget=1s")

    told = capsys.readouterr().out
    assert "dataset.image_size=72 (images of about 64 px)" in told
    assert "dataset.train_sizes=[48,48,64] (small images first, which are quick)" in told
    config = OmegaConf.load("run/config.yaml")
    assert config.dataset.image_size == 72
    assert config.trainer.max_epochs >= 1
    assert config.dataset.batch_size == 16
    lines = Path("run/config.yaml").read_text(encoding="utf-8").splitlines()
    still_auto = {line.strip() for line in lines if line.endswith(" auto")}
    assert still_auto <= {"cache: auto", "accelerator: auto", "strategy: auto", "budget: auto"}  # which others decide


def test_answers_averaged_with_mirror_images_stand_beside_the_plain_ones(photos: Path) -> None:
    report = train(photos, "trainer.max_epochs=2", "test_time_flip=true")

    assert report["test_flip"].keys() == report["test"].keys()
    assert report["test_flip"]["loss"] != report["test"]["loss"]


def test_a_pretrained_network_learns_and_its_checkpoint_needs_nothing_but_itself(photos: Path) -> None:
    torch.save(torchvision.models.resnet18().state_dict(), "weights.pth")
    backbone = ["model=pretrained", "model.backbone=resnet18", "model.weights=weights.pth", "model.freeze=0.5"]

    report = train(photos, *backbone, "trainer.max_epochs=2", "dataset.image_size=32", "dataset.batch_size=8")

    Path("weights.pth").unlink()
    predictor = Predictor.load("run/checkpoints/best.ckpt")
    assert predictor.preprocess.mean == (0.485, 0.456, 0.406)
    assert predictor.predict(photos / "cats" / "000.png")[0].label in ("cats", "dogs")
    assert [epoch["epoch"] for epoch in report["epochs"]] == [1, 2]


def test_an_experiment_is_a_whole_recipe_of_which_any_value_can_be_changed(photos: Path) -> None:
    words = ["experiment=cats_dogs", f"dataset.root={photos}", "run_dir=run", "dataset.image_size=32"]
    assert main(["train", *words, "trainer.max_epochs=1"]) == 0

    config = OmegaConf.load("run/config.yaml")
    assert config.model._target_ == "cnn_classifier.models.cnn.CNN"
    assert (config.dataset.batch_size, config.dataset.image_size, config.loss.label_smoothing) == (32, 32, 0.0)


@pytest.mark.parametrize("scheduler", ["cosine", "plateau", "constant"])
def test_every_schedule_goes_with_a_number_of_epochs_that_was_settled(photos: Path, scheduler: str) -> None:
    report = train(photos, "budget=1s", f"scheduler={scheduler}")

    assert OmegaConf.load("run/config.yaml").trainer.max_epochs == len(report["epochs"])


def test_a_data_set_of_ones_own_needs_a_name_and_a_root_alone(photos: Path) -> None:
    Path("mine", "dataset").mkdir(parents=True)
    Path("mine", "dataset", "ours.yaml").write_text(f"name: mine\nroot: {photos}\n", encoding="utf-8")

    words = ["train", "--config-dir", "mine", "dataset=ours", "trainer.max_epochs=1", "run_dir=run"]
    assert main(words) == 0

    assert OmegaConf.load("run/config.yaml").dataset.image_size == 72


def test_grey_images_go_into_a_pretrained_network(photos: Path) -> None:
    torch.save(torchvision.models.resnet18().state_dict(), "weights.pth")
    words = ["model=pretrained", "model.backbone=resnet18", "model.weights=weights.pth", "dataset.image_size=32"]

    train(photos, *words, "dataset.channels=1", "trainer.max_epochs=1")

    assert Predictor.load("run/checkpoints/best.ckpt").preprocess.mean == (pytest.approx(0.449),)


def test_a_pretrained_run_goes_on_without_its_first_weights(photos: Path) -> None:
    torch.save(torchvision.models.resnet18().state_dict(), "weights.pth")
    words = ["model=pretrained", "model.backbone=resnet18", "model.weights=weights.pth", "dataset.image_size=32"]
    train(photos, *words, "trainer.max_epochs=1", "dataset.batch_size=8", "scheduler=constant")
    Path("weights.pth").unlink()

    report = train(photos, *words, "trainer.max_epochs=2", "dataset.batch_size=8", "scheduler=constant", "resume=run")

    assert [epoch["epoch"] for epoch in report["epochs"]] == [1, 2]
