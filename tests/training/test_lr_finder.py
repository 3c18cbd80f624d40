"""The test of learning rates says where the loss falls, and draws it."""

from pathlib import Path
from typing import Any

import pytest
from helpers.folders import TINY, MakeFolder
from PIL import Image

from cnn_classifier.cli.main import main
from cnn_classifier.errors import DataError
from cnn_classifier.training import lr_finder as rate_test
from cnn_classifier.training.lr_finder import lr_range_test, steepest_lr
from cnn_classifier.training.module import ImageClassifier


@pytest.fixture
def words(make_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    root = make_folder({"cats": 20, "dogs": 20})
    monkeypatch.chdir(tmp_path)
    return ["lr-find", "dataset=folder", f"dataset.root={root}", *TINY, "--steps=30"]


def test_it_finds_a_rate_and_draws_a_picture(
    pictures: None, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--out=pictures/rates.png"]) == 0

    told = capsys.readouterr().out
    rate = float(told.rpartition("optimizer.lr=")[2])
    assert 1e-6 < rate < 0.1
    with Image.open("pictures/rates.png") as picture:
        assert picture.size == (720, 480)
    assert [path.name for path in Path.cwd().iterdir() if path.name not in ("images", "pictures", "home")] == []


def test_it_can_begin_with_the_weights_of_a_checkpoint(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    given = [word for word in words[1:] if not word.startswith("--")]
    assert main(["train", *given, "trainer.max_epochs=1", "run_dir=run"]) == 0
    assert main(["lr-find", *given, "resume=run"]) == 0
    assert "the loss falls fastest at" in capsys.readouterr().out


def test_a_picture_that_cannot_be_drawn_is_refused_at_once(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--out=rates.txt"]) == 2
    assert "rates.txt is no picture; expected a name that ends in .png, .svg, .pdf" in capsys.readouterr().err


def test_layers_that_a_training_would_freeze_stay_as_they_are(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    changed: list[str] = []

    def watched(module: ImageClassifier, *values: Any, **more: Any) -> list[float]:
        before = {name: parameter.clone() for name, parameter in module.network.named_parameters()}
        lr_range_test(module, *values, **more)
        changed.extend(n for n, parameter in module.network.named_parameters() if not parameter.equal(before[n]))
        return [3.0, 2.9, 2.0, 1.0, 0.9, 3.0]

    monkeypatch.setattr(rate_test, "lr_range_test", watched)
    frozen = ["model=pretrained", "model.backbone=resnet18", "model.weights=null", "model.freeze=1.0", "trainer=cpu"]
    data = [word for word in words[1:] if word.startswith("dataset")]
    assert main(["lr-find", *data, *frozen, "dataset.image_size=32", "trainer.max_epochs=1", "--steps=6"]) == 0
    assert sorted(name.rpartition(".")[2] for name in changed) == ["bias", "weight"]  # of the last layer


def test_it_is_where_the_loss_falls_fastest_before_it_rises() -> None:
    assert steepest_lr([1, 2, 4, 8, 16, 32], [5.0, 4.9, 4.0, 3.0, 2.9, 9.0]) == 4
    with pytest.raises(DataError, match="does not fall at any rate"):
        steepest_lr([1, 2, 4], [1.0, 2.0, 3.0])
