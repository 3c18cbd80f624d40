"""Cross-validation in one command: every image is predicted once, and the networks of the folds become one model."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.folders import MakeFolder
from PIL import Image

from cnn_classifier.cli.main import main
from cnn_classifier.inference.predictor import Predictor
from cnn_classifier.models.ensemble import Ensemble
from cnn_classifier.training.checkpoints import read_checkpoint

OVERRIDES = [
    *("photos", "model=cnn", "model.widths=[4]", "model.hidden_dim=4", "dataset.image_size=16", "dataset.batch_size=8"),
    *("dataset.folds=3", "dataset.fold=all", "trainer=cpu", "trainer.max_epochs=1"),
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `photos` of 15 cats and 15 dogs, and a finished cross-validation in `run`."""
    folder = tmp_path_factory.mktemp("finished")
    rng = np.random.default_rng(0)
    for name, level in (("cats", 80), ("dogs", 170)):
        (folder / "photos" / name).mkdir(parents=True)
        for index in range(15):
            pixels = rng.integers(level - 40, level + 40, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "photos" / name / f"{index:03d}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert train() == 0
    return folder


@pytest.fixture
def photos(make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """8 cats and 8 dogs in the working directory."""
    root = make_folder({"cats": 8, "dogs": 8}, name="photos", size=16)
    monkeypatch.chdir(tmp_path)
    return root


def train(*overrides: str, run_dir: str = "run") -> int:
    return main(["train", *OVERRIDES, f"run_dir={run_dir}", *overrides])


def read_predictions(run_dir: str = "run") -> list[dict[str, str]]:
    with Path(run_dir, "out_of_fold.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_each_image_is_predicted_by_the_network_that_was_not_trained_on_it(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(finished)
    rows = read_predictions()
    assert sorted(row["path"] for row in rows) == sorted(str(path) for path in Path("photos").rglob("*.png"))
    for fold in range(3):
        with Path("run", f"fold_{fold}", "split.csv").open(encoding="utf-8") as file:
            used = {Path(row["path"]).name + row["label"] for row in csv.DictReader(file) if row["split"] != "test"}
        held_out = {Path(row["path"]).name + row["label"] for row in rows if row["fold"] == str(fold)}
        assert (len(used), len(held_out), len(used & held_out)) == (20, 10, 0)
    report = json.loads(Path("run", "report.json").read_text())
    accuracy = np.mean([row["label"] == row["prediction"] for row in rows])
    assert report["out_of_fold"]["accuracy"] == pytest.approx(accuracy)
    folds = report["folds"]["metrics"]["accuracy"]
    assert folds["mean"] == pytest.approx(accuracy)
    assert folds["std"] == pytest.approx(np.std(folds["folds"], ddof=1))
    assert Path("run", "report.html").is_file()


def test_model_consists_of_the_networks_of_the_folds(
    finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(finished)
    members = [read_checkpoint(f"run/fold_{fold}")["state_dict"] for fold in range(3)]
    weights = read_checkpoint("run")["state_dict"]
    for number, member in enumerate(members):
        for name, value in member.items():
            if name.startswith("network."):
                assert torch.equal(weights[name.replace("network.", f"network.members.{number}.", 1)], value)
    assert Predictor.load("run", device="cpu").predict(["photos/cats/000.png"])[0].label in ("cats", "dogs")
    capsys.readouterr()
    assert main(["predict", "run", "photos/cats/000.png"]) == 0
    assert "photos/cats/000.png" in capsys.readouterr().out
    assert main(["evaluate", "run", "photos"]) == 0


def test_ensemble_is_the_mean_of_probabilities() -> None:
    class Constant(torch.nn.Module):
        def __init__(self, logits: list[float]) -> None:
            super().__init__()
            self.logits = torch.tensor(logits)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.logits.expand(len(images), -1)

    ensemble = Ensemble(members=[Constant([0.0, 2.0]), Constant([5.0, 1.0])])
    expected = torch.stack([torch.tensor(logits).softmax(0) for logits in ([0.0, 2.0], [5.0, 1.0])]).mean(dim=0)
    assert torch.allclose(ensemble(torch.zeros(2, 3, 8, 8)).softmax(dim=1), expected.expand(2, -1))


def test_interrupted_cross_validation_continues_with_the_missing_folds(
    photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stop = "+callbacks.stop={_target_:helpers.stop_at.StopAt,step:0,moment:train,number:15,times:1}"
    with pytest.raises(SystemExit, match="143"):
        train("dataset.folds=2", stop)
    assert train("dataset.folds=2", "resume=run") == 0
    assert len(read_predictions()) == 16
    capsys.readouterr()
    assert train("dataset.folds=2", "resume=run") == 0  # finished folds are not repeated
    assert capsys.readouterr().out.count("finished") == 2


def test_given_test_images_are_tested_once(
    make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_folder({"train/cats": 8, "train/dogs": 8, "test/cats": 4, "test/dogs": 4}, name="photos", size=16)
    monkeypatch.chdir(tmp_path)
    assert train("dataset.folds=2") == 0
    report = json.loads(Path("run", "report.json").read_text())
    assert sum(report["splits"]["test"]) == 8
    assert len(read_predictions()) == 16  # of the training images
    assert report["test"]["accuracy"] is not None


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["dataset.folds=null"], "dataset.fold"),
        (["resume=nowhere"], "nowhere"),
    ],
)
def test_invalid_cross_validation_is_one_sentence(
    overrides: list[str], message: str, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(*overrides) in (2, 4)
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert not Path("run", "fold_0").exists()
