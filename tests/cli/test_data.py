"""The `data check` command: table, JSON and HTML report."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.folders import MakeFolder
from helpers.image_bytes import IMAGE

from cnn_classifier.cli.data import default_report_path
from cnn_classifier.cli.main import main
from cnn_classifier.data.checks import check
from cnn_classifier.data.sources import resolve

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache; the working directory is empty, too."""
    folder = tmp_path_factory.mktemp("here")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("CNN_CLASSIFIER_HOME", str(folder / "home"))
    return folder / "home"


@pytest.fixture
def photos(make_folder: MakeFolder) -> Path:
    """A dataset with an image in both classes, an image in both splits, a broken file and a text file."""
    root = make_folder({"train/Hunde": 4, "train/Kätzchen": 6, "test/Hunde": 2, "test/Kätzchen": 2}, name="pets")
    shutil.copy(root / "train" / "Hunde" / "000.png", root / "train" / "Kätzchen" / "conflict.png")
    shutil.copy(root / "train" / "Hunde" / "001.png", root / "test" / "Hunde" / "leak.png")
    (root / "train" / "Hunde" / "broken.jpg").write_text("no picture", encoding="utf-8")
    (root / "train" / "Hunde" / "notes.txt").write_text("cut out by hand", encoding="utf-8")
    return root


def check_data(source: Path | str, capsys: Capture) -> dict[str, Any]:
    """Return the output of `data check --json`."""
    assert main(["data", "check", str(source), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def decoded_files(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are decoded during the test."""
    names: list[str] = []

    def spy(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Path, **kwargs: Any) -> Any:
            names.append(path.name)
            return function(path, **kwargs)

        return call

    monkeypatch.setattr(check, "read_image_info", spy(check.read_image_info))
    return names


def test_json_contains_counts_problems_and_sizes(photos: Path, capsys: Capture) -> None:
    result = check_data(photos, capsys)

    assert result["source"] == str(photos)
    assert result["images"] == 17
    assert result["classes"] == {"Hunde": 8, "Kätzchen": 9}
    assert result["splits"] == {"train": {"Hunde": 5, "Kätzchen": 7}, "test": {"Hunde": 3, "Kätzchen": 2}}
    reason = "not an image: it starts like text, 'no picture'"
    assert result["unreadable"] == [{"path": "train/Hunde/broken.jpg", "reason": reason}]
    assert [group for group in result["duplicates"] if group["kind"] == "exact"] == [
        {
            "kind": "exact",
            "paths": ["test/Hunde/leak.png", "train/Hunde/001.png"],
            "classes": ["Hunde"],
            "splits": ["test", "train"],
        },
        {
            "kind": "exact",
            "paths": ["train/Hunde/000.png", "train/Kätzchen/conflict.png"],
            "classes": ["Hunde", "Kätzchen"],
            "splits": ["train"],
        },
    ]
    assert (result["conflicts"], result["leaks"]) == (1, 1)
    assert result["ignored"] == {".txt": 1}
    assert result["sizes"]["width"] == {"min": 32, "median": 32.0, "max": 32}
    assert result["images_per_second"] > 0


def test_same_image_in_another_size_is_near_duplicate(make_folder: MakeFolder, capsys: Capture) -> None:
    root = make_folder({"cats": 2, "dogs": 2})
    IMAGE.save(root / "cats" / "large.png")
    IMAGE.resize((48, 32)).save(root / "dogs" / "small.jpg", quality=80)
    result = check_data(root, capsys)
    near = {"kind": "near", "paths": ["cats/large.png", "dogs/small.jpg"], "classes": ["cats", "dogs"], "splits": []}
    assert result["duplicates"] == [near]
    assert (result["conflicts"], result["leaks"]) == (1, 0)


def test_json_goes_to_stdout_and_table_to_stderr(photos: Path, capsys: Capture) -> None:
    assert main(["data", "check", str(photos), "--json"]) == 0
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 1
    table = captured.err

    assert main(["data", "check", str(photos)]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    for line in (
        "images      17 in 2 classes: Hunde 8, Kätzchen 9",
        "splits      train 12 · test 5",
        "width       32 to 32 pixels, median 32",
        "unreadable  1",
        "            train/Hunde/broken.jpg: not an image: it starts like text, 'no picture'",
        "duplicates  2 exact groups, 4 files",
        "duplicates  in several classes: train/Hunde/000.png, train/Kätzchen/conflict.png",
        "duplicates  in several splits: test/Hunde/leak.png, train/Hunde/001.png",
        "ignored     1 .txt",
        f"see {Path('outputs', 'data', 'pets', 'data.html')}",
    ):
        assert line in captured.out.splitlines()
        assert line in table.splitlines()
    assert "suggestion  Images in more than one class: 1. Keep only the correctly labeled file of each." in captured.out


def test_html_report_contains_problems_and_images(photos: Path, capsys: Capture) -> None:
    page = Path("deep", "inside", "page.html")
    assert main(["data", "check", str(photos), "--out", str(page)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"see {page}"
    content = page.read_text(encoding="utf-8")
    for name in ("train/Hunde/broken.jpg", "it starts like text", "Kätzchen", "conflict.png", "leak.png"):
        assert name in content
    assert "data:image/jpeg;base64," in content
    assert not Path("outputs").exists()


def test_unwritable_html_report_is_exit_code_5_after_json(photos: Path, capsys: Capture) -> None:
    Path("taken").write_text("no folder", encoding="utf-8")
    assert main(["data", "check", str(photos), "--json", "--out", str(Path("taken", "page.html"))]) == 5
    captured = capsys.readouterr()
    assert json.loads(captured.out)["images"] == 17
    assert captured.err.splitlines()[-1].startswith(f"error: Cannot write {Path('taken', 'page.html')}")
    assert "unreadable  1" in captured.err


@pytest.mark.parametrize(
    ("source", "folder"),
    [
        ("photos", "photos"),
        ("/data/photos.zip", "photos"),
        ("/data/Photos.TAR.GZ", "Photos"),
        ("/data/photos.v1", "photos.v1"),
        (".", "here"),
        ("..", "above"),
        ("https://example.invalid/data/pets.zip?key=a/b", "pets"),
        (f"https://example.invalid/{'long' * 99}.zip", ("long" * 24)[:96]),
    ],
)
def test_default_report_path_contains_source_name(
    source: str, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "above" / "here").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "above" / "here")
    assert default_report_path(source) == Path("outputs", "data", folder, "data.html")


def test_second_check_decodes_only_new_files(
    make_folder: MakeFolder, capsys: Capture, decoded_files: list[str]
) -> None:
    root = make_folder({"cats": 3, "dogs": 3})
    first = check_data(root, capsys)
    assert len(decoded_files) == 6

    decoded_files.clear()
    again = check_data(root, capsys)
    assert decoded_files == []
    assert again["images_per_second"] == 0
    timing = ("seconds", "images_per_second")
    assert all(again[key] == first[key] for key in first if key not in timing)

    shutil.copy(root / "cats" / "000.png", root / "cats" / "copy.png")  # known by its content
    (root / "dogs" / "001.png").write_bytes(b"")
    result = check_data(root, capsys)
    assert decoded_files == ["001.png"]
    assert (result["images"], [bad["path"] for bad in result["unreadable"]]) == (7, ["dogs/001.png"])


def test_named_dataset_is_checked_unless_path_exists(
    make_folder: MakeFolder, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_folder({str(digit): 2 for digit in range(3)})
    monkeypatch.setitem(resolve.BUILTIN_DATASETS, "digits", lambda: folder)
    result = check_data("digits", capsys)
    assert (result["source"], result["images"]) == ("digits", 6)
    assert Path("outputs/data/digits/data.html").is_file()

    make_folder({"roses": 2, "tulips": 2}, name="garden").rename("flowers")  # what lies here comes first
    assert check_data("flowers", capsys)["classes"] == {"roses": 2, "tulips": 2}


def test_archive_is_checked_like_folder(make_folder: MakeFolder, capsys: Capture) -> None:
    root = make_folder({"PetImages/Cat": 2, "PetImages/Dog": 2})
    archive = shutil.make_archive("pets", "zip", root)
    result = check_data(archive, capsys)
    assert result["classes"] == {"Cat": 2, "Dog": 2}
    assert Path("outputs/data/pets/data.html").is_file()


@pytest.mark.parametrize(
    ("args", "exit_code", "message"),
    [
        (
            ["check", "missing"],
            3,
            "dataset.source: missing does not exist. Expected a folder with one folder",
        ),
        (
            ["check", "animals10"],
            2,
            "dataset.source is not set for dataset 'animals10'. Download it from https://www.kaggle.com/",
        ),
        (["check"], 2, "the following arguments are required: SOURCE; see cnn-classifier data check --help"),
        (["check", "here", "--jsn"], 2, "unrecognized arguments: --jsn"),
        (["chek", "here"], 2, "chek does not exist; did you mean 'check'?; see cnn-classifier data --help"),
        ([], 2, "the following arguments are required: check"),
    ],
)
def test_invalid_argument_is_one_line_with_exit_code(
    args: list[str], exit_code: int, message: str, capsys: Capture
) -> None:
    assert main(["data", *args]) == exit_code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert not Path("outputs").exists()


def test_dataset_without_readable_image_is_exit_code_3_after_json(make_folder: MakeFolder, capsys: Capture) -> None:
    root = make_folder({"cats": 2, "dogs": 1})
    for path in root.rglob("*.png"):
        path.write_bytes(b"")
    assert main(["data", "check", str(root), "--json"]) == 3
    captured = capsys.readouterr()
    assert {(bad["path"], bad["reason"]) for bad in json.loads(captured.out)["unreadable"]} == {
        (name, "the file is empty") for name in ("cats/000.png", "cats/001.png", "dogs/000.png")
    }
    assert captured.err.splitlines()[-1] == f"error: None of the 3 images in {root} can be read."


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["data"], ["check", "find unreadable files, duplicates, leaks and unusual images"]),
        (
            ["data", "check"],
            ["SOURCE", "a folder, zip, tar, CSV, URL, or name", "--json", "--out HTML"],
        ),
        (["cache"], ["[clear [KIND]]", "delete the cached data that no run is using"]),
        (
            ["cache", "clear"],
            ["[KIND]", "packed (decoded pixels), datasets (extracted or generated images), downloads"],
        ),
    ],
)
def test_help_lists_arguments(args: list[str], expected: list[str], capsys: Capture) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([*args, "--help"])
    output = " ".join(capsys.readouterr().out.split())
    for part in expected:
        assert part in output
