"""Invalid input: one line on standard error, the documented exit code, and no files."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.folders import MakeFolder

from cnn_classifier.cli.main import main
from cnn_classifier.cli.train import format_train_help, read_description
from cnn_classifier.config.compose import load_config
from cnn_classifier.config.yaml_files import CONF_DIR
from cnn_classifier.errors import ConfigError

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def empty_cwd(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("here")
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model=cnnn", "model=cnnn does not exist; expected one of: auto, baseline, cnn, pretrained, resnet"),
        ("optimizer.lrr=0.1", "optimizer.lrr is not in the configuration; did you mean 'lr'?"),
        ("dataset.image_siz=64", "dataset.image_siz is not in the configuration; did you mean 'image_size'?"),
        ("sed=2", "sed is not in the configuration; did you mean 'seed'?"),
        ("dataset.image_size=big", "dataset: image_size='big' is of the wrong type: expected int"),
        ("optimizer.lr=fast", "optimizer.lr=fast is of the wrong type: expected float such as"),
        ("model.widths=64", "model.widths=64 is of the wrong type: expected list such as"),
        ("model.widths=[8,wide]", "model.widths=[8, 'wide'] is of the wrong type: expected list such as"),
        ("dataset.max_per_class=few", "max_per_class='few' is of the wrong type: expected int or null"),
        ("budget=soon", "budget=soon cannot be parsed: expected a time such as 90s, 15m or 1h30m"),
        ("optimizer.lr=-1", "optimizer.lr=-1 is out of range: expected at least 0"),
        ("model.dropout=1.5", "model.dropout=1.5 is out of range: expected from 0 to 1"),
        ("dataset.channels=2", "dataset.channels=2 is out of range: expected 3 (RGB) or 1 (grayscale)"),
        ("dataset.resize=zoom", "dataset.resize=zoom is out of range: expected stretch or crop or pad"),
        ("dataset.val_fraction=1.2", "dataset.val_fraction=1.2 is out of range"),
        ("dataset.fold=3", "dataset.fold=3 has no effect"),
        ("dataset.image_size=8", "dataset.image_size=8 is too small for the network: model.widths=[48, 96, 192, 384]"),
        (
            "dataset=folder",
            "dataset.source is not set for dataset 'folder'. Set dataset.source=FOLDER|ZIP",
        ),
        (
            "dataset=animals10",
            "dataset.source is not set for dataset 'animals10'. Download it from https://www.kaggle.com/",
        ),
        (
            "dataset.rename_classes=dog",
            "rename_classes='dog' is of the wrong type: expected a mapping such as {name: value} or null",
        ),
        ("dataset.max_unreadable=5", "dataset.max_unreadable=5 is out of range: expected a fraction from 0 to 1"),
        ("dataset.on_unreadable=stop", "dataset.on_unreadable=stop is out of range: expected skip or error"),
        ("model._target_=subprocess.Popen", "subprocess.Popen is not allowed here; expected a subclass of Module"),
        ("model._target_=no.such.Net", "no.such.Net cannot be imported"),
        (
            "compute.memory_format=nhwc",
            "compute.memory_format=nhwc is unknown: expected one of auto, channels_last, contiguous",
        ),
        ("compute.compile=maybe", "compute.compile=maybe is unknown: expected one of auto, True, False"),
        ("dataset.train_sizes=[4]", "dataset.train_sizes=[4] is out of range: expected from 8 to 4096"),
        ("trainer.precision=fp7", "trainer.precision=fp7 is not supported; expected one of 32-true"),
        ("loss.class_weights=[1,2]", "loss.class_weights=[1, 2]: expected 10 values, one per class"),
        (
            "dataset.root=my photos (1)",
            "cannot be parsed; quote a value with special characters: \"dataset.root='my photos (1)'",
        ),
        ("dataset.image_size=[", "cannot be parsed; quote a value with special characters"),
        (
            "optimizer.momentun=0.9",
            "optimizer.momentun is not in the configuration; expected one of: _target_, fused, lr",
        ),
        ("optimizer.lr=null", "optimizer.lr=None is of the wrong type: expected float such as optimizer.lr=0.001"),
        ("model=null", "Config group override must be a string"),
        ("resume=5", "resume=5 is of the wrong type: expected auto or a path"),
        (
            "loss.class_weights=balancd",
            "loss.class_weights=balancd: expected balanced or one positive number per class",
        ),
        (
            "callbacks.best.monitor=val/acc",
            "callbacks.best.monitor=val/acc is not logged; did you mean 'val/accuracy'?",
        ),
        (
            "scheduler.monitor=val/los",
            "scheduler.monitor requires scheduler=plateau, which this command does not select",
        ),
    ],
)
def test_invalid_override_is_one_line_with_exit_code_2(
    override: str, message: str, empty_cwd: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", override]) == 2

    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert message in lines[0]
    assert list(empty_cwd.iterdir()) == []


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ({}, "does not exist. Expected a folder with one folder of images per class."),
        ({"cats": 3}, "has only one class (cats). Expected at least two class folders."),
        ({"cats": 3, "dogs": 0}, "contains no images. Add images to this class folder or remove it."),
        ({"cats": 3, ".hidden": 3, "__MACOSX": 3}, "has only one class (cats)"),
        (
            {"train/cats": 3, "train/dogs": 3, "test/cats": 3, "test/dog": 3},
            "test has a class 'dog' that train lacks, and lacks 'dogs'",
        ),
        ({"test/cats": 2, "test/dogs": 2}, "has test but no train"),
    ],
    ids=["missing", "one class", "empty class", "hidden", "other classes", "no train"],
)
def test_invalid_dataset_folder_is_one_line_with_exit_code_3(
    layout: dict[str, int], message: str, empty_cwd: Path, make_folder: MakeFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_folder(layout)

    assert main(["train", "dataset=folder", f"dataset.root={root}"]) == 3

    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert message in lines[0]
    assert list(empty_cwd.iterdir()) == []


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("mnist", "dataset.source: mnist does not exist. Expected a folder with one folder of images per class."),
        ("photos.zip", "photos.zip as a zip or tar archive: "),
        (
            "http://example.invalid/photos.zip",
            "http://example.invalid/photos.zip is not downloaded, because CNN_CLASSIFIER_OFFLINE=1",
        ),
        ("photos.csv", "photos.csv, line 1: missing column label. Expected a header such as path,label,split."),
        ("notes.txt", "notes.txt is not a folder, a zip or tar archive, or a CSV file. Pass one of these."),
    ],
)
def test_invalid_dataset_source_is_one_line_with_exit_code_3(
    source: str, message: str, empty_cwd: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {"photos.zip": "no zip", "photos.csv": "path,class\n0.png,cat\n", "notes.txt": ""}
    for name, content in files.items():
        (empty_cwd / name).write_text(content, encoding="utf-8")

    assert main(["train", "dataset=folder", f"dataset.source={source}"]) == 3

    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert message in lines[0]
    assert {path.name for path in empty_cwd.iterdir()} == files.keys()


def test_train_without_readable_image_is_exit_code_3(
    empty_cwd: Path, make_folder: MakeFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    root = make_folder({"cats": 10, "dogs": 10})
    for path in root.rglob("*.png"):
        path.write_bytes(b"")

    assert main(["train", "dataset=folder", f"dataset.root={root}"]) == 3

    assert "none of the 20 images can be read; the first is" in capsys.readouterr().err
    assert list(empty_cwd.iterdir()) == []


def test_invalid_checkpoint_is_exit_code_4(
    make_folder: MakeFolder, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    photos = make_folder({"cats": 1, "dogs": 1})
    (tmp_path / "text.ckpt").write_text("weights")

    for name, message in (("missing.ckpt", "does not exist"), ("text.ckpt", "it is damaged or not a checkpoint")):
        for command in ("predict", "evaluate"):
            assert main([command, str(tmp_path / name), str(photos)]) == 4
            assert message in capsys.readouterr().err


def test_missing_argument_is_one_line_with_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict"]) == 2

    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("error: the following arguments are required: MODEL, IMAGE|FOLDER|GLOB")
    assert len(lines) == 1


def test_run_dir_that_is_a_file_is_exit_code_5(empty_cwd: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (empty_cwd / "taken").write_text("")

    assert main(["train", "run_dir=taken"]) == 5

    assert "taken: File exists. Choose another directory with run_dir=PATH." in capsys.readouterr().err


def test_predict_missing_path_is_exit_code_3(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "missing.ckpt", "no/such/*.jpg"]) == 3

    assert "no/such/*.jpg does not exist and matches nothing" in capsys.readouterr().err


def test_debug_prints_traceback_of_training_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    argv = ["train", "dataset=folder", "dataset.root=missing"]
    assert main(argv) == 3
    assert "Traceback" not in capsys.readouterr().err
    assert main([*argv, "--debug"]) == 3
    stderr = capsys.readouterr().err
    assert "Traceback" in stderr
    assert "error: " in stderr.splitlines()[-1]


def test_unexpected_exception_is_one_line_without_debug(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("cnn_classifier.cli.evaluate.run", lambda arguments: 1 / 0)

    assert main(["evaluate", "a.ckpt", "b"]) == 1
    assert (
        "ZeroDivisionError: division by zero (this is a bug; --debug prints the traceback)" in capsys.readouterr().err
    )
    with pytest.raises(ZeroDivisionError):
        main(["--debug", "evaluate", "a.ckpt", "b"])


@pytest.mark.parametrize("columns", [60, 80, 100])
def test_train_help_wraps_descriptions_beside_the_names(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    text = format_train_help()
    listed, _, _ = text.partition("Tab completion")
    assert "…" not in text
    assert max(map(len, listed.splitlines())) <= 100
    for path in CONF_DIR.glob("*/*.yaml"):
        name = f"{path.parent.name}={path.stem}"
        (entry,) = re.findall(rf"^  {re.escape(name)}(?: +|$)(.*(?:\n {{20}} *\S.*)*)", listed, re.MULTILINE)
        assert " ".join(entry.split()) == read_description(path)


def test_help_config_completion_and_errors_do_not_import_torch(empty_cwd: Path) -> None:
    program = """
import sys
from cnn_classifier.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
print("torch" in sys.modules, file=sys.stderr)
"""
    for argv, output in (
        (["--help"], "evaluate"),
        (["train", "--help"], "model=baseline             Two Conv-ReLU-Pool"),
        (["train", "--cfg", "job"], "widths:"),
        (["train", "-sc", "query=bash"], "model="),
        (["train", "optimizer.lr=-1"], ""),
        (["train", "model.widths=[8,wide]"], ""),
        (["train", "dataset.image_size=8"], ""),
        (["train", "dataset=folder", "dataset.root=missing"], ""),
        (["data", "check", "--help"], "SOURCE"),
        (["data", "check", "missing"], ""),
        (["cache"], "0.0 MB  total in"),
        (["cache", "clear", "packed"], "0.0 MB  deleted from"),
    ):
        environment = os.environ | {
            "COMP_LINE": "train.py mod",
            "COMP_POINT": "12",
            "CNN_CLASSIFIER_HOME": str(empty_cwd),
        }
        command = [sys.executable, "-c", program, *argv]
        process = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        assert output in process.stdout
        assert process.stderr.endswith("False\n")


def test_train_py_runs_train_command(empty_cwd: Path) -> None:
    process = subprocess.run(
        [sys.executable, ROOT / "train.py", "model=resnt"], capture_output=True, text=True, check=False
    )

    assert process.returncode == 2
    assert process.stderr.startswith("error: model=resnt does not exist")
    assert len((ROOT / "train.py").read_text().splitlines()) < 10


def test_load_config_composes_groups_and_rejects_unknown_keys() -> None:
    config = load_config(["dataset=cats_dogs", "model=baseline"], run_dir="here")

    assert config.dataset.name == "cats_dogs"
    assert config.callbacks.best.dirpath == "here/checkpoints"
    with pytest.raises(ConfigError, match="did you mean 'model'"):
        load_config(["modell.hidden_dim=3"])


def test_digits_dataset_has_no_flip_unless_augment_is_set() -> None:
    assert "flip" not in load_config(["dataset=digits"]).augment
    assert "flip" in load_config(["dataset=digits", "augment=strong"]).augment
    assert "flip" in load_config(["dataset=folder"]).augment


def test_predict_json_prints_one_list(make_folder: MakeFolder, capsys: pytest.CaptureFixture[str]) -> None:
    root = make_folder({"cats": 10, "dogs": 10})
    words = [
        "dataset=folder",
        f"dataset.root={root}",
        "dataset.image_size=16",
        "model=baseline",
        "trainer.max_epochs=1",
    ]
    assert main(["train", *words, "run_dir=run"]) == 0
    capsys.readouterr()

    assert main(["predict", "run/checkpoints/best.ckpt", str(root / "cats"), "--json"]) == 0

    predictions = json.loads(capsys.readouterr().out)
    assert len(predictions) == 10
    rejection = {"rejected", "rejection_reason"}
    assert predictions[0].keys() == {"path", "label", "probability", "similarity", "top_k", "error"} | rejection
