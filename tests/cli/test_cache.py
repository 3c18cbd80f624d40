"""The `cache` command: list and delete cached data."""

import shutil
import sys
from pathlib import Path

import pytest

from cnn_classifier.cli.main import main
from cnn_classifier.files import file_lock

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("CNN_CLASSIFIER_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_cache_lists_entries_and_clear_deletes_them(home: Path, capsys: Capture) -> None:
    for name, size in (("packed/abc/images.npy", 3_000_000), ("datasets/pets-1/cat.jpg", 1_500_000)):
        (home / name).parent.mkdir(parents=True)
        (home / name).write_bytes(bytes(size))
    (home / "datasets" / "pets-1.lock").write_bytes(b"")

    def run(*args: str) -> list[str]:
        assert main(["cache", *args]) == 0
        return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]

    (home / "packed" / "abc" / "source.txt").write_text("9 images of photos", encoding="utf-8")
    packed, dataset, total, hint = run()
    assert packed.startswith("3.0 MB last used 2")
    assert packed.endswith(" packed/abc: 9 images of photos")
    assert dataset.startswith("1.5 MB last used 2")
    assert dataset.endswith(" datasets/pets-1")
    assert total == f"4.5 MB total in {home}"
    assert hint == "delete with: cnn-classifier cache clear"
    assert len(list(home.rglob("*.*"))) == 4

    assert run("clear", "packed")[-1] == f"3.0 MB deleted from {home}"
    assert (list((home / "packed").iterdir()), len(list((home / "datasets").iterdir()))) == ([], 2)
    assert run("clear")[-1] == f"1.5 MB deleted from {home}"
    assert list((home / "datasets").iterdir()) == []
    assert run() == [f"0.0 MB total in {home}"]


def test_cache_clear_keeps_entries_in_use(home: Path, capsys: Capture) -> None:
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
        assert main(["cache", "clear"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.split("/")[-1] for line in lines[:4]] == [
            ".partial-a, in use",
            ".partial-b",
            "pets, in use",
            "c, in use",
        ]
        assert lines[-1].split() == ["1.0", "MB", "deleted", "from", str(home)]
        assert [name for name in names if (home / name).exists()] == [names[0], *names[2:]]
        assert len(list(home.rglob("*.lock"))) == 3
    assert main(["cache", "clear"]) == 0
    assert [path for path in home.rglob("*") if path.is_file()] == []


@pytest.mark.skipif(sys.platform == "win32", reason="symbolic links require a privilege on Windows")
def test_cache_clear_deletes_link_but_not_its_target(home: Path, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "large disk").mkdir()
    (tmp_path / "large disk" / "cat.jpg").write_bytes(bytes(2_000_000))
    (home / "datasets").mkdir(parents=True)
    for name, target in (("pets", "large disk"), ("gone", "nowhere")):
        (home / "datasets" / name).symlink_to(tmp_path / target)
    assert main(["cache", "clear"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split()[0] == "0.0"
    assert list((home / "datasets").iterdir()) == []
    assert (tmp_path / "large disk" / "cat.jpg").exists()


def test_cache_clear_undeletable_entry_is_exit_code_5(
    home: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raise_permission_error(entry: Path) -> None:
        raise PermissionError(13, "Permission denied", str(entry))

    (home / "packed" / "abc").mkdir(parents=True)
    monkeypatch.setattr(shutil, "rmtree", raise_permission_error)
    assert main(["cache", "clear"]) == 5
    assert capsys.readouterr().err == (
        f"error: Cannot delete {home / 'packed' / 'abc'}: Permission denied. Stop the run that uses it.\n"
    )


def test_cache_clear_unknown_kind_is_exit_code_2(capsys: Capture) -> None:
    assert main(["cache", "clear", "everything"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "everything does not exist; expected one of: datasets, downloads, features, packed, weights" in line
