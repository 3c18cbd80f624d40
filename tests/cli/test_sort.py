"""The `sort` command: sort images into class folders, and undo it."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from cnn_classifier.cli.main import main
from cnn_classifier.cli.parser import build_parser
from cnn_classifier.errors import CheckpointError
from cnn_classifier.inference.prediction import Prediction
from cnn_classifier.inference.predictor import Predictor

Capture = pytest.CaptureFixture[str]


class FakePredictor:
    """A predictor that takes the class from the file name; a file without `_` is unreadable."""

    class_names = ("cats", "dogs")

    def predict_iter(self, sources: Sequence[Path], **kwargs: Any) -> Iterator[Prediction]:
        """Yield one prediction per file."""
        for path in sources:
            label, separator, _ = path.name.partition("_")
            yield Prediction(str(path), label) if separator else Prediction(str(path), None, error="not an image")


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Create three files, of which one is unreadable, and replace the model by a `FakePredictor`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Predictor, "load", lambda path, **kwargs: FakePredictor())
    folder = Path("photos")
    folder.mkdir()
    for name in ("cats_1.jpg", "dogs_1.jpg", "broken.jpg"):
        (folder / name).write_text(name, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    "argv",
    [
        ["model.ckpt", "photos", "--into", "sorted", "--move"],
        ["--move", "--into", "sorted", "model.ckpt", "photos"],
        ["model.ckpt", "--into", "sorted", "--move", "photos"],
    ],
    ids=["options last", "options first", "options between"],
)
@pytest.mark.usefixtures("photos")
def test_sort_move_and_undo_restores_files(argv: list[str], capsys: Capture) -> None:
    before = sorted(Path("photos").iterdir())

    assert main(["sort", *argv]) == 0

    sorted_names = {path.relative_to("sorted").as_posix() for path in Path("sorted").rglob("*.jpg")}
    assert sorted_names == {"cats/cats_1.jpg", "dogs/dogs_1.jpg", "_unreadable/broken.jpg"}
    assert list(Path("photos").iterdir()) == []
    output = capsys.readouterr()
    assert f"cnn-classifier sort --undo {Path('sorted').absolute()}" in output.out
    assert "unreadable: " in output.err

    assert main(["sort", "--undo", "sorted"]) == 0
    assert sorted(Path("photos").iterdir()) == before


def test_sort_copy_is_default(photos: Path) -> None:
    assert main(["sort", "model.ckpt", str(photos), "--into", "sorted"]) == 0
    assert len(list(photos.iterdir())) == 3
    assert not (Path("sorted") / "cats" / "cats_1.jpg").is_symlink()


def test_sort_without_readable_image_is_exit_code_3(photos: Path, capsys: Capture) -> None:
    assert main(["sort", "model.ckpt", str(photos / "broken.jpg"), "--into", "sorted"]) == 3
    assert "None of the 1 files is a readable image." in capsys.readouterr().err


def test_sort_with_invalid_model_creates_no_folder(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def raise_checkpoint_error(path: Path, **kwargs: Any) -> None:
        raise CheckpointError("damaged")

    monkeypatch.setattr(Predictor, "load", raise_checkpoint_error)
    assert main(["sort", "model.ckpt", str(photos), "--into", "sorted"]) == 4
    assert not Path("sorted").exists()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "the following arguments are required: MODEL, IMAGE|FOLDER|GLOB"),
        (["model.ckpt", "photos"], "one of the arguments --into --undo is required"),
        (["model.ckpt", "--into", "sorted"], "the following arguments are required: IMAGE|FOLDER|GLOB"),
        (["--into", "sorted", "--undo", "sorted"], "argument --undo: not allowed with argument --into"),
        (["model.ckpt", "--undo", "sorted"], "sort --undo sorted accepts no other arguments, got model.ckpt"),
        (["model.ckpt", "photos", "--into", "sorted", "--copy", "--move"], "argument --move: not allowed with"),
    ],
)
def test_sort_invalid_arguments_are_one_line_with_exit_code_2(argv: list[str], message: str, capsys: Capture) -> None:
    assert main(["sort", *argv]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_predict_and_sort_share_options_of_prediction() -> None:
    options = ["--threshold", "0.5", "--tta-flip", "--device", "cpu", "--trust-module", "mine."]
    for argv in (["predict", "m", "p", "--top-k", "2"], ["sort", "m", "p", "--into", "s"]):
        arguments = build_parser().parse_args([*argv, *options])
        assert (arguments.threshold, arguments.tta_flip, arguments.trust_module) == (0.5, True, ["mine."])
