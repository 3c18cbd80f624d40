"""`data check` finds what is wrong and says it three ways; `data clean` frees nothing unasked."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.folders import MakeFolder
from helpers.image_bytes import IMAGE

from cnn_classifier.cli.data import default_page
from cnn_classifier.cli.main import main
from cnn_classifier.data.checks import check as audit
from cnn_classifier.data.sources import resolve as source
from cnn_classifier.files import file_lock

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test runs in an empty folder and with an empty cache."""
    folder = tmp_path_factory.mktemp("here")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("CNN_CLASSIFIER_HOME", str(folder / "home"))
    return folder / "home"


@pytest.fixture
def photos(make_folder: MakeFolder) -> Path:
    """One picture in both classes, one in both splits, a broken file and one that is no image."""
    root = make_folder({"train/Hunde": 4, "train/Kätzchen": 6, "test/Hunde": 2, "test/Kätzchen": 2}, name="pets")
    shutil.copy(root / "train" / "Hunde" / "000.png", root / "train" / "Kätzchen" / "conflict.png")
    shutil.copy(root / "train" / "Hunde" / "001.png", root / "test" / "Hunde" / "leak.png")
    (root / "train" / "Hunde" / "broken.jpg").write_text("no picture", encoding="utf-8")
    (root / "train" / "Hunde" / "notes.txt").write_text("cut out by hand", encoding="utf-8")
    return root


def checked(place: Path | str, capsys: Capture) -> dict[str, Any]:
    """What `data check --json` prints."""
    assert main(["data", "check", str(place), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are decoded from now on."""
    names: list[str] = []

    def noted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Path, **more: Any) -> Any:
            names.append(path.name)
            return function(path, **more)

        return call

    monkeypatch.setattr(audit, "read_image_info", noted(audit.read_image_info))
    return names


def test_json_holds_everything_that_was_found(photos: Path, capsys: Capture) -> None:
    found = checked(photos, capsys)

    assert found["source"] == str(photos)
    assert found["images"] == 17
    assert found["classes"] == {"Hunde": 8, "Kätzchen": 9}
    assert found["splits"] == {"train": {"Hunde": 5, "Kätzchen": 7}, "test": {"Hunde": 3, "Kätzchen": 2}}
    reason = "not an image: it starts like text, 'no picture'"
    assert found["bad"] == [{"path": "train/Hunde/broken.jpg", "reason": reason}]
    assert [group for group in found["duplicates"] if group["kind"] == "exact"] == [
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
    assert (found["conflicts"], found["leaks"]) == (1, 1)
    assert found["ignored"] == {".txt": 1}
    assert found["sizes"]["width"] == {"min": 32, "median": 32.0, "max": 32}
    assert found["images_per_second"] > 0


def test_the_same_picture_at_another_size_is_a_near_copy(make_folder: MakeFolder, capsys: Capture) -> None:
    root = make_folder({"cats": 2, "dogs": 2})
    IMAGE.save(root / "cats" / "large.png")
    IMAGE.resize((48, 32)).save(root / "dogs" / "small.jpg", quality=80)
    found = checked(root, capsys)
    near = {"kind": "near", "paths": ["cats/large.png", "dogs/small.jpg"], "classes": ["cats", "dogs"], "splits": []}
    assert found["duplicates"] == [near]
    assert (found["conflicts"], found["leaks"]) == (1, 0)


def test_json_has_standard_output_for_itself(photos: Path, capsys: Capture) -> None:
    assert main(["data", "check", str(photos), "--json"]) == 0
    told = capsys.readouterr()
    assert len(told.out.splitlines()) == 1
    table = told.err

    assert main(["data", "check", str(photos)]) == 0
    told = capsys.readouterr()
    assert told.err == ""
    for line in (
        "images      17 in 2 classes: Hunde 8, Kätzchen 9",
        "splits      train 12 · test 5",
        "width       32 to 32 pixels, median 32",
        "unreadable  1",
        "            train/Hunde/broken.jpg: not an image: it starts like text, 'no picture'",
        "copies      2 exact groups, 4 files",
        "copies      in several classes: train/Hunde/000.png, train/Kätzchen/conflict.png",
        "copies      in several splits: test/Hunde/leak.png, train/Hunde/001.png",
        "ignored     1 .txt",
        f"see {Path('outputs', 'data', 'pets', 'data.html')}",
    ):
        assert line in told.out.splitlines()
        assert line in table.splitlines()
    assert "suggestion  pictures in more than one class: 1; keep the right copy of each" in told.out


def test_the_page_shows_what_the_table_tells(photos: Path, capsys: Capture) -> None:
    page = Path("deep", "inside", "page.html")
    assert main(["data", "check", str(photos), "--out", str(page)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"see {page}"
    content = page.read_text(encoding="utf-8")
    for name in ("train/Hunde/broken.jpg", "it starts like text", "Kätzchen", "conflict.png", "leak.png"):
        assert name in content
    assert "data:image/jpeg;base64," in content
    assert not Path("outputs").exists()


def test_a_page_that_cannot_be_written_costs_no_result(photos: Path, capsys: Capture) -> None:
    Path("taken").write_text("no folder", encoding="utf-8")
    assert main(["data", "check", str(photos), "--json", "--out", str(Path("taken", "page.html"))]) == 5
    told = capsys.readouterr()
    assert json.loads(told.out)["images"] == 17
    assert told.err.splitlines()[-1].startswith(f"error: {Path('taken')}")
    assert "unreadable  1" in told.err


@pytest.mark.parametrize(
    ("place", "folder"),
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
def test_the_page_is_named_after_the_source(
    place: str, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "above" / "here").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "above" / "here")
    assert default_page(place) == Path("outputs", "data", folder, "data.html")


def test_a_second_check_decodes_nothing_but_what_is_new(
    make_folder: MakeFolder, capsys: Capture, looked_at: list[str]
) -> None:
    root = make_folder({"cats": 3, "dogs": 3})
    first = checked(root, capsys)
    assert len(looked_at) == 6

    looked_at.clear()
    again = checked(root, capsys)
    assert looked_at == []
    assert again["images_per_second"] == 0
    timing = ("seconds", "images_per_second")
    assert all(again[key] == first[key] for key in first if key not in timing)

    shutil.copy(root / "cats" / "000.png", root / "cats" / "copy.png")  # known by its content
    (root / "dogs" / "001.png").write_bytes(b"")
    found = checked(root, capsys)
    assert looked_at == ["001.png"]
    assert (found["images"], [bad["path"] for bad in found["bad"]]) == (7, ["dogs/001.png"])


def test_a_data_set_is_checked_by_its_name(
    make_folder: MakeFolder, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_folder({str(digit): 2 for digit in range(3)})
    monkeypatch.setitem(source.BUILTIN_DATASETS, "digits", lambda: folder)
    found = checked("digits", capsys)
    assert (found["source"], found["images"]) == ("digits", 6)
    assert Path("outputs/data/digits/data.html").is_file()

    make_folder({"roses": 2, "tulips": 2}, name="garden").rename("flowers")  # what lies here comes first
    assert checked("flowers", capsys)["classes"] == {"roses": 2, "tulips": 2}


def test_an_archive_is_checked_as_its_folder_is(make_folder: MakeFolder, capsys: Capture) -> None:
    root = make_folder({"PetImages/Cat": 2, "PetImages/Dog": 2})
    archive = shutil.make_archive("pets", "zip", root)
    found = checked(archive, capsys)
    assert found["classes"] == {"Cat": 2, "Dog": 2}
    assert Path("outputs/data/pets/data.html").is_file()


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (
            ["check", "missing"],
            3,
            "dataset.source: missing does not exist; expected a folder with one folder",
        ),
        (["check", "animals10"], 2, "dataset.source is not set; download it from https://www.kaggle.com/"),
        (["check"], 2, "the following arguments are required: SOURCE; cnn-classifier data check --help shows"),
        (["check", "here", "--jsn"], 2, "unrecognized arguments: --jsn"),
        (["chek", "here"], 2, "invalid choice: 'chek'"),
        ([], 2, "the following arguments are required: check|clean"),
        (["clean", "--only", "everything"], 2, "invalid choice: 'everything'"),
    ],
)
def test_a_wrong_word_is_one_line_and_its_exit_code(words: list[str], code: int, told: str, capsys: Capture) -> None:
    assert main(["data", *words]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert told in line
    assert not Path("outputs").exists()


def test_a_folder_without_a_readable_image_is_exit_code_3_and_still_listed(
    make_folder: MakeFolder, capsys: Capture
) -> None:
    root = make_folder({"cats": 2, "dogs": 1})
    for path in root.rglob("*.png"):
        path.write_bytes(b"")
    assert main(["data", "check", str(root), "--json"]) == 3
    told = capsys.readouterr()
    assert {(bad["path"], bad["reason"]) for bad in json.loads(told.out)["bad"]} == {
        (name, "the file is empty") for name in ("cats/000.png", "cats/001.png", "dogs/000.png")
    }
    assert told.err.splitlines()[-1] == f"error: {root}: none of the 3 images can be read"


def test_clean_frees_the_cache_only_when_told_to(home: Path, capsys: Capture) -> None:
    for name, size in (("packed/abc/images.npy", 3_000_000), ("datasets/pets-1/cat.jpg", 1_500_000)):
        (home / name).parent.mkdir(parents=True)
        (home / name).write_bytes(bytes(size))
    (home / "datasets" / "pets-1.lock").write_bytes(b"")

    def cleaned(*words: str) -> list[str]:
        assert main(["data", "clean", *words]) == 0
        return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]

    packed, dataset, total, hint = cleaned()
    assert packed.startswith("3.0 MB last used 2")
    assert packed.endswith(" packed/abc")
    assert dataset.startswith("1.5 MB last used 2")
    assert dataset.endswith(" datasets/pets-1")
    assert total == f"4.5 MB in all in {home}"
    assert hint == "free it with: cnn-classifier data clean --yes"
    assert cleaned("--only", "datasets")[1:] == [
        f"1.5 MB in all in {home}",
        "free it with: cnn-classifier data clean --only datasets --yes",
    ]
    assert len(list(home.rglob("*.*"))) == 3

    assert cleaned("--only", "packed", "--yes")[-1] == f"3.0 MB freed in {home}"
    assert (list((home / "packed").iterdir()), len(list((home / "datasets").iterdir()))) == ([], 2)
    assert cleaned("--yes")[-1] == f"1.5 MB freed in {home}"
    assert list((home / "datasets").iterdir()) == []
    assert cleaned() == [f"0.0 MB in all in {home}"]


def test_clean_leaves_what_a_run_is_making(home: Path, capsys: Capture) -> None:
    names = (
        "packed/.partial-a/images.npy",
        "packed/.partial-b/images.npy",
        "datasets/pets/cat.jpg",
        "downloads/c/x.zip",
    )
    for name in names:
        (home / name).parent.mkdir(parents=True)
        (home / name).write_bytes(bytes(1_000_000))
    with (
        file_lock(home / "packed" / "a"),
        file_lock(home / "datasets" / "pets"),
        file_lock(home / "downloads" / "c" / "x.zip"),
    ):
        assert main(["data", "clean", "--yes"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.split("/")[-1] for line in lines[:4]] == [
            ".partial-a, in use",
            ".partial-b",
            "pets, in use",
            "c, in use",
        ]
        assert lines[-1].split() == ["1.0", "MB", "freed", "in", str(home)]
        assert [name for name in names if (home / name).exists()] == [names[0], *names[2:]]
        assert len(list(home.rglob("*.lock"))) == 3
    assert main(["data", "clean", "--yes"]) == 0
    assert [path for path in home.rglob("*") if path.is_file()] == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows gives links to few")
def test_clean_removes_a_link_and_not_what_it_leads_to(home: Path, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "large disk").mkdir()
    (tmp_path / "large disk" / "cat.jpg").write_bytes(bytes(2_000_000))
    (home / "datasets").mkdir(parents=True)
    for name, target in (("pets", "large disk"), ("gone", "nowhere")):
        (home / "datasets" / name).symlink_to(tmp_path / target)
    assert main(["data", "clean", "--yes"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split()[0] == "0.0"
    assert list((home / "datasets").iterdir()) == []
    assert (tmp_path / "large disk" / "cat.jpg").exists()


def test_what_cannot_be_deleted_is_exit_code_5(home: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def in_use(entry: Path) -> None:
        raise PermissionError(13, "Permission denied", str(entry))

    (home / "packed" / "abc").mkdir(parents=True)
    monkeypatch.setattr(shutil, "rmtree", in_use)
    assert main(["data", "clean", "--yes"]) == 5
    told = capsys.readouterr().err
    assert told == f"error: {home / 'packed' / 'abc'} cannot be deleted (Permission denied); end the run that uses it\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["data"], ["check", "clean", "find unreadable files, copies, leaks and odd images"]),
        (
            ["data", "check"],
            ["SOURCE", "a folder, zip, tar, CSV, address, or name", "--json", "--out HTML"],
        ),
        (["data", "clean"], ["--only KIND", "packed | datasets | downloads", "--yes"]),
    ],
)
def test_help_says_what_can_be_said(words: list[str], told: list[str], capsys: Capture) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([*words, "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    for part in told:
        assert part in shown
