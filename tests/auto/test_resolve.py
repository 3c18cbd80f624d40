"""Tests of complete runs with `auto` values, as started by `python train.py dataset=folder dataset.root=PATH`."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from helpers.folders import MakeFolder
from omegaconf import OmegaConf

from cnn_classifier import Predictor
from cnn_classifier.cli.main import main


@pytest.fixture(autouse=True)
def photos(make_folder: MakeFolder, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of cats and dogs; the test runs in an empty directory."""
    monkeypatch.chdir(tmp_path_factory.mktemp("cwd"))
    return make_folder({"cats": 20, "dogs": 20}, size=64)


def train(photos: Path, *overrides: str) -> dict[str, Any]:
    """Train in `run/` and return the report."""
    assert main(["train", "dataset=folder", f"dataset.root={photos}", "run_dir=run", *overrides]) == 0
    return json.loads(Path("run", "report.json").read_text(encoding="utf-8"))


def test_auto_values_are_printed_and_saved_resolved(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(photos, "budget=1s")

    output = capsys.readouterr().out
    assert "dataset.image_size=72 (median image size 64 px)" in output
    assert "dataset.train_sizes=[48,48,64] (smaller images first, to save time)" in output
    config = OmegaConf.load("run/config.yaml")
    assert config.dataset.image_size == 72
    assert config.trainer.max_epochs >= 1
    assert config.dataset.batch_size == 16
    lines = Path("run/config.yaml").read_text(encoding="utf-8").splitlines()
    auto_lines = {line.strip() for line in lines if line.endswith(" auto")}
    resolved_elsewhere = {"cache", "zip_encoding", "accelerator", "strategy", "budget"}
    assert auto_lines <= {f"{key}: auto" for key in resolved_elsewhere}


def test_test_time_flip_adds_metrics_to_the_report(photos: Path) -> None:
    report = train(photos, "trainer.max_epochs=2", "test_time_flip=true")

    assert report["test_flip"].keys() == report["test"].keys()
    assert report["test_flip"]["loss"] != report["test"]["loss"]


def test_checkpoint_of_a_pretrained_model_loads_without_the_weights_file(photos: Path) -> None:
    torch.save(torchvision.models.resnet18().state_dict(), "weights.pth")
    backbone = ["model=pretrained", "model.backbone=resnet18", "model.weights=weights.pth", "model.freeze=0.5"]

    report = train(photos, *backbone, "trainer.max_epochs=2", "dataset.image_size=32", "dataset.batch_size=8")

    Path("weights.pth").unlink()
    predictor = Predictor.load("run/checkpoints/best.ckpt")
    assert predictor.preprocess.mean == (0.485, 0.456, 0.406)
    assert predictor.predict(photos / "cats" / "000.png").label in ("cats", "dogs")
    assert [epoch["epoch"] for epoch in report["epochs"]] == [1, 2]


def test_values_of_an_experiment_can_be_overridden(photos: Path) -> None:
    overrides = ["experiment=cats_dogs", f"dataset.root={photos}", "run_dir=run", "dataset.image_size=32"]
    assert main(["train", *overrides, "trainer.max_epochs=1"]) == 0

    config = OmegaConf.load("run/config.yaml")
    assert config.model._target_ == "cnn_classifier.models.cnn.CNN"
    assert (config.dataset.batch_size, config.dataset.image_size, config.loss.label_smoothing) == (32, 32, 0.0)


@pytest.mark.parametrize("scheduler", ["cosine", "plateau", "constant"])
def test_schedulers_run_with_a_resolved_number_of_epochs(photos: Path, scheduler: str) -> None:
    report = train(photos, "budget=1s", f"scheduler={scheduler}")

    assert OmegaConf.load("run/config.yaml").trainer.max_epochs == len(report["epochs"])


def test_user_dataset_config_needs_only_name_and_root(photos: Path) -> None:
    Path("user_conf", "dataset").mkdir(parents=True)
    Path("user_conf", "dataset", "photos.yaml").write_text(f"name: photos\nroot: {photos}\n", encoding="utf-8")

    arguments = ["train", "--config-dir", "user_conf", "dataset=photos", "trainer.max_epochs=1", "run_dir=run"]
    assert main(arguments) == 0

    assert OmegaConf.load("run/config.yaml").dataset.image_size == 72


def test_pretrained_model_trains_on_gray_images(photos: Path) -> None:
    torch.save(torchvision.models.resnet18().state_dict(), "weights.pth")
    overrides = ["model=pretrained", "model.backbone=resnet18", "model.weights=weights.pth", "dataset.image_size=32"]

    train(photos, *overrides, "dataset.channels=1", "trainer.max_epochs=1")

    assert Predictor.load("run/checkpoints/best.ckpt").preprocess.mean == (pytest.approx(0.449),)


def test_pretrained_run_resumes_without_the_weights_file(photos: Path) -> None:
    torch.save(torchvision.models.resnet18().state_dict(), "weights.pth")
    overrides = ["model=pretrained", "model.backbone=resnet18", "model.weights=weights.pth", "dataset.image_size=32"]
    train(photos, *overrides, "trainer.max_epochs=1", "dataset.batch_size=8", "scheduler=constant")
    Path("weights.pth").unlink()

    report = train(
        photos, *overrides, "trainer.max_epochs=2", "dataset.batch_size=8", "scheduler=constant", "resume=run"
    )

    assert [epoch["epoch"] for epoch in report["epochs"]] == [1, 2]


def test_torchvision_builder_trains_with_auto_values_and_its_checkpoint_predicts(photos: Path) -> None:
    target = "torchvision.models.mobilenet_v3_small"
    report = train(photos, f"model._target_={target}", "trainer.max_epochs=1", "dataset.image_size=32")

    assert 0 <= report["test"]["accuracy"] <= 1
    assert Predictor.load("run", device="cpu").predict(photos / "cats" / "000.png").error is None
