"""Copies of one picture are found, whatever they are called and however they are encoded."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnn_classifier.data.checks import check as audit_module
from cnn_classifier.data.checks.check import find_duplicates, inspect_files

pytestmark = pytest.mark.usefixtures("home")


def scene(seed: int) -> Image.Image:
    """Soft blobs of colour, as far from any other scene as two photos are from each other."""
    blobs = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return Image.fromarray(blobs).resize((128, 96), Image.Resampling.BICUBIC)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Six scenes."""
    folder = tmp_path / "scenes"
    folder.mkdir()
    for seed in range(6):
        scene(seed).save(folder / f"{seed}.png")
    return folder


def copies(root: Path) -> list[tuple[str, list[str]]]:
    paths = sorted(root.iterdir(), reverse=True)
    return [(kind, [path.name for path in files]) for kind, files in find_duplicates(inspect_files(paths), paths)]


def test_different_pictures_are_no_copies(root: Path) -> None:
    assert copies(root) == []


def test_the_same_bytes_are_exact_copies_in_the_order_of_their_names(root: Path) -> None:
    for name in ("2.jpg", "0.jpg", "another.jpg"):
        shutil.copy(root / "4.png", root / name)
    assert copies(root) == [("exact", ["0.jpg", "2.jpg", "4.png", "another.jpg"])]


def test_a_picture_encoded_anew_is_a_near_copy_and_its_exact_copies_are_with_it(root: Path) -> None:
    scene(1).save(root / "saved.jpg", quality=90)
    scene(1).resize((96, 72), Image.Resampling.LANCZOS).save(root / "small.png")
    shutil.copy(root / "saved.jpg", root / "once more.jpg")
    assert copies(root) == [
        ("exact", ["once more.jpg", "saved.jpg"]),
        ("near", ["1.png", "once more.jpg", "saved.jpg", "small.png"]),
    ]


def test_files_that_cannot_be_read_are_copies_of_nothing(root: Path) -> None:
    for name in ("empty.png", "void.png"):
        (root / name).write_bytes(b"")
    assert copies(root) == []
    for path in root.iterdir():
        path.write_bytes(b"")
    assert copies(root) == []


def test_copies_are_searched_for_once_a_set_of_contents(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched: list[int] = []

    def first_and_last(thumbnails: np.ndarray, load: Callable[[int], np.ndarray]) -> Sequence[Sequence[int]]:
        assert (thumbnails.shape[1:], thumbnails.dtype) == ((16, 16), np.uint8)
        assert (load(0).shape, load(0).dtype) == ((64, 64, 3), np.uint8)
        searched.append(len(thumbnails))
        return [[0, len(thumbnails) - 1]]

    monkeypatch.setattr(audit_module, "group_near_duplicates", first_and_last)
    [(kind, files)] = copies(root)
    assert (kind, len(files)) == ("near", 2)
    shutil.copytree(root, tmp_path / "copy")
    assert copies(tmp_path / "copy") == [(kind, files)]
    shutil.copy(root / "0.png", root / "once more.png")
    copies(root)
    assert searched == [6]
    scene(7).save(root / "7.png")
    copies(root)
    assert searched == [6, 7]


def test_a_search_that_could_not_read_a_file_is_not_the_last(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(path: Path) -> bytes:
        raise OSError(5, "Input/output error")

    scene(1).save(root / "small.jpg", quality=90)
    paths = sorted(root.iterdir())
    audit = inspect_files(paths)
    with monkeypatch.context() as patch:
        patch.setattr(Image, "open", away)
        assert find_duplicates(audit, paths) == []
    assert find_duplicates(audit, paths) == [("near", [root / "1.png", root / "small.jpg"])]
