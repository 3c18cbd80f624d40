"""Images are decoded once, and packed or streamed they are the same pixels."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnn_classifier.data.cache import ImageStore, PackedImages, StreamedImages, cache_key, image_store
from cnn_classifier.data.preprocess import Preprocess
from cnn_classifier.errors import StorageError

PREPROCESS = Preprocess(image_size=8, channels=3, resize="squash", mean=(0.5,) * 3, std=(0.25,) * 3)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CNN_CLASSIFIER_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def paths(make_folder: Callable[..., Path]) -> list[Path]:
    return sorted(make_folder({"cats": 3, "dogs": 3}).rglob("*.png"))


def store(paths: list[Path], *, cache: str = "auto", cache_limit_gb: float = 1.0) -> ImageStore:
    return image_store(paths, PREPROCESS, cache=cache, cache_limit_gb=cache_limit_gb)


def test_packed_pixels_equal_streamed_ones_in_any_order(paths: list[Path]) -> None:
    packed, streamed = store(paths), store(paths, cache="none")
    assert (type(packed), type(streamed)) == (PackedImages, StreamedImages)
    assert len(packed) == len(streamed) == 6
    wanted = np.array([5, 0, 0, 3])
    assert packed[wanted].shape == (4, 8, 8, 3)
    assert packed[wanted].dtype == np.uint8
    assert np.array_equal(packed[wanted], streamed[wanted])
    assert np.array_equal(packed[wanted][0], PREPROCESS.load(paths[5]))


def test_a_second_run_decodes_nothing(paths: list[Path], home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = store(paths)[np.arange(6)]
    monkeypatch.delattr(Image, "open")
    again = store(paths)
    assert np.array_equal(again[np.arange(6)], first)
    assert again.unreadable == {}
    assert len(list((home / "packed").iterdir())) == 1


def test_a_changed_file_is_decoded_anew(paths: list[Path]) -> None:
    before = store(paths)[np.array([0])]
    paths[0].write_bytes(paths[-1].read_bytes())
    assert not np.array_equal(store(paths)[np.array([0])], before)


def test_the_key_knows_files_dates_order_and_pixels_but_not_what_comes_later(paths: list[Path]) -> None:
    def changed(**values: object) -> str:
        return cache_key(paths, Preprocess(**{**PREPROCESS.as_dict(), **values}))

    key = cache_key(paths, PREPROCESS)
    assert changed(mean=(0.0,) * 3, std=(1.0,) * 3) == key
    others = [cache_key(paths[::-1], PREPROCESS), cache_key(paths[1:], PREPROCESS)]
    others += [changed(image_size=9), changed(channels=1), changed(resize="crop")]
    os.utime(paths[0], ns=(0, 0))
    others.append(cache_key(paths, PREPROCESS))
    assert len({key, *others}) == 7


@pytest.mark.parametrize("cache", ["auto", "none"])
def test_unreadable_files_are_listed_by_index_with_the_reason(paths: list[Path], cache: str) -> None:
    paths[1].write_bytes(b"")
    paths[4].write_bytes(paths[4].read_bytes()[:200])
    assert store(paths, cache=cache).unreadable == {1: "cannot identify image file", 4: "image file is truncated"}
    assert store(paths, cache=cache).unreadable.keys() == {1, 4}  # a second time, as a later run would


def test_more_than_the_limit_is_streamed_and_nothing_is_written(paths: list[Path], home: Path) -> None:
    size = 6 * 8 * 8 * 3 / 1e9
    assert isinstance(store(paths, cache_limit_gb=0.99 * size), StreamedImages)
    assert not home.exists()
    assert isinstance(store(paths, cache_limit_gb=1.01 * size), PackedImages)


def test_a_full_disk_leaves_nothing_behind_and_says_what_to_do(
    paths: list[Path], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "open_memmap", full)
    with pytest.raises(StorageError, match=r"packed: No space left on device; free space there or set CNN_CLASSIFIER"):
        store(paths)
    assert list((home / "packed").iterdir()) == []


def test_a_link_to_nowhere_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    preprocess = Preprocess(image_size=8, channels=1, resize="squash", mean=(0.5,), std=(0.25,))

    store = image_store([tmp_path / "gone.png"], preprocess, cache="auto", cache_limit_gb=1)

    assert store.unreadable == {0: "No such file or directory"}
