"""The test of learning rates says where the loss falls, and draws it."""

from pathlib import Path

import pytest
from conftest import TINY, MakeFolder
from PIL import Image

from cnn_classifier.cli import main
from cnn_classifier.errors import DataError
from cnn_classifier.rate_test import steepest


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


def test_it_is_where_the_loss_falls_fastest_before_it_rises() -> None:
    assert steepest([1, 2, 4, 8, 16, 32], [5.0, 4.9, 4.0, 3.0, 2.9, 9.0]) == 4
    with pytest.raises(DataError, match="does not fall at any rate"):
        steepest([1, 2, 4], [1.0, 2.0, 3.0])
