"""Tests of `find_duplicates`: exact and near duplicates of files, and the cache of duplicate groups."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnn_classifier.data.checks import check as check_module
from cnn_classifier.data.checks.check import find_duplicates, inspect_files

pytestmark = pytest.mark.usefixtures("home")


def scene(seed: int) -> Image.Image:
    """Return smooth random color blobs, which correlate with other scenes as little as two photos do."""
    blobs = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return Image.fromarray(blobs).resize((128, 96), Image.Resampling.BICUBIC)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with six different images."""
    folder = tmp_path / "scenes"
    folder.mkdir()
    for seed in range(6):
        scene(seed).save(folder / f"{seed}.png")
    return folder


def duplicates(root: Path) -> list[tuple[str, list[str]]]:
    paths = sorted(root.iterdir(), reverse=True)
    return [(kind, [path.name for path in files]) for kind, files in find_duplicates(inspect_files(paths), paths)]


def test_different_images_are_not_duplicates(root: Path) -> None:
    assert duplicates(root) == []


def test_files_with_identical_bytes_are_exact_duplicates_sorted_by_name(root: Path) -> None:
    for name in ("2.jpg", "0.jpg", "another.jpg"):
        shutil.copy(root / "4.png", root / name)
    assert duplicates(root) == [("exact", ["0.jpg", "2.jpg", "4.png", "another.jpg"])]


def test_near_duplicate_group_contains_exact_duplicates(root: Path) -> None:
    scene(1).save(root / "saved.jpg", quality=90)
    scene(1).resize((96, 72), Image.Resampling.LANCZOS).save(root / "small.png")
    shutil.copy(root / "saved.jpg", root / "once more.jpg")
    assert duplicates(root) == [
        ("exact", ["once more.jpg", "saved.jpg"]),
        ("near", ["1.png", "once more.jpg", "saved.jpg", "small.png"]),
    ]


def test_unreadable_files_are_not_duplicates(root: Path) -> None:
    for name in ("empty.png", "void.png"):
        (root / name).write_bytes(b"")
    assert duplicates(root) == []
    for path in root.iterdir():
        path.write_bytes(b"")
    assert duplicates(root) == []


def test_near_duplicates_are_cached_per_set_of_contents(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_sizes: list[int] = []

    def group_first_and_last(thumbnails: np.ndarray, load: Callable[[int], np.ndarray]) -> Sequence[Sequence[int]]:
        assert (thumbnails.shape[1:], thumbnails.dtype) == ((16, 16), np.uint8)
        assert (load(0).shape, load(0).dtype) == ((64, 64, 3), np.uint8)
        set_sizes.append(len(thumbnails))
        return [[0, len(thumbnails) - 1]]

    monkeypatch.setattr(check_module, "group_near_duplicates", group_first_and_last)
    [(kind, files)] = duplicates(root)
    assert (kind, len(files)) == ("near", 2)
    shutil.copytree(root, tmp_path / "copy")
    assert duplicates(tmp_path / "copy") == [(kind, files)]
    shutil.copy(root / "0.png", root / "once more.png")
    duplicates(root)
    assert set_sizes == [6]
    scene(7).save(root / "7.png")
    duplicates(root)
    assert set_sizes == [6, 7]


def test_search_with_unreadable_file_is_not_cached(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def raise_io_error(path: Path) -> bytes:
        raise OSError(5, "Input/output error")

    scene(1).save(root / "small.jpg", quality=90)
    paths = sorted(root.iterdir())
    check_result = inspect_files(paths)
    with monkeypatch.context() as patch:
        patch.setattr(Image, "open", raise_io_error)
        assert find_duplicates(check_result, paths) == []
    assert find_duplicates(check_result, paths) == [("near", [root / "1.png", root / "small.jpg"])]
