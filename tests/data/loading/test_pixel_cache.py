"""Tests of the pixel cache and the image stores: reuse, limits, damaged files, full disks and concurrent runs."""

import hashlib
import io
import os
import shutil
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from cnn_classifier.data.images.preprocess import Preprocess
from cnn_classifier.data.loading import pixel_cache
from cnn_classifier.data.loading.image_store import PREFETCH_BATCHES, CachedImages, ImageStore, StreamedImages
from cnn_classifier.data.loading.pixel_cache import PixelCacheWriter, cache_key
from cnn_classifier.errors import ConfigError, DataError, StorageError
from cnn_classifier.files import file_lock

pytestmark = pytest.mark.usefixtures("home")

PREPROCESS = Preprocess(image_size=8, channels=3, resize="stretch", mean=(0.5,) * 3, std=(0.25,) * 3)
SIZE_GB = 6 * 8 * 8 * 3 / 1e9  # the pixels of the six images of `digests`
Digests = dict[Path, str]


@pytest.fixture
def digests(make_folder: Callable[..., Path]) -> Digests:
    return digests_of(make_folder({"cats": 3, "dogs": 3}))


def digests_of(root: Path) -> Digests:
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(root.rglob("*.png"))}


def make_writer(*, cache: str = "auto", cache_limit_gb: float = 1.0, capacity: int = 6) -> PixelCacheWriter:
    return PixelCacheWriter(PREPROCESS, capacity=capacity, cache=cache, cache_limit_gb=cache_limit_gb)


def store(digests: Digests, **options: object) -> ImageStore:
    with make_writer(**options) as writer:
        return writer.finalize(digests)


def pixels_of(store: ImageStore, paths: list[Path]) -> np.ndarray:
    [pixels] = store.iter_batches([store.get_rows(paths)])
    return pixels


def cache_entries(home: Path) -> list[Path]:
    """Return the entries of the cache directory except the lock files."""
    return [entry for entry in (home / "packed").iterdir() if entry.suffix != ".lock"]


def simulate_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))


@pytest.mark.parametrize("cache", ["auto", "disk", "ram"])
def test_cached_and_streamed_pixels_are_equal_in_any_order(digests: Digests, cache: str) -> None:
    cached, streamed = store(digests, cache=cache), store(digests, cache="none")
    assert (type(cached), type(streamed)) == (CachedImages, StreamedImages)
    paths = list(digests)
    selected = [paths[5], paths[0], paths[0], paths[3]]
    pixels = pixels_of(cached, selected)
    assert (pixels.shape, pixels.dtype) == ((4, 8, 8, 3), np.uint8)
    assert np.array_equal(pixels, pixels_of(streamed, selected))
    assert np.array_equal(pixels[0], PREPROCESS.load(paths[5]))


def test_streamed_batches_keep_their_order(digests: Digests) -> None:
    streamed, paths = store(digests, cache="none"), list(digests)
    rows = [streamed.get_rows([paths[step % 6], paths[step % 5]]) for step in range(3 * PREFETCH_BATCHES)]
    pixels = list(streamed.iter_batches(iter(rows)))
    assert len(pixels) == len(rows)
    for step, batch in enumerate(pixels):
        assert np.array_equal(batch, [PREPROCESS.load(paths[step % 6]), PREPROCESS.load(paths[step % 5])])
    assert list(streamed.iter_batches([])) == []


def test_second_run_loads_pixels_from_the_cache(digests: Digests, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = pixels_of(store(digests), list(digests))
    monkeypatch.delattr(Image, "open")
    assert np.array_equal(pixels_of(store(digests), list(digests)), first)
    assert len(cache_entries(home)) == 1


def test_added_pixels_are_not_decoded_again(digests: Digests, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = np.stack([PREPROCESS.load(path) for path in digests])
    with make_writer() as writer:
        writer.acquire(digests.values())
        for digest, pixels in zip(digests.values(), expected, strict=True):
            writer.add(digest, pixels)
        monkeypatch.delattr(Image, "open")
        assert np.array_equal(pixels_of(writer.finalize(digests), list(digests)), expected)


@pytest.mark.parametrize("cache", ["auto", "ram"])
def test_files_with_identical_bytes_share_a_row(digests: Digests, cache: str) -> None:
    first, *_, last = digests
    shutil.copy(first, last)
    digests = digests_of(first.parent.parent)
    cached = store(digests, cache=cache)
    assert cached.get_rows([first]).tolist() == cached.get_rows([last]).tolist()
    assert len(cached.row_by_digest) == 5
    assert np.array_equal(pixels_of(cached, [last]), [PREPROCESS.load(first)])


def test_cache_key_depends_on_contents_and_resize_but_not_on_normalization(digests: Digests) -> None:
    def key(**values: object) -> str:
        return cache_key(digests.values(), Preprocess(**{**PREPROCESS.to_dict(), **values}))

    contents = list(digests.values())
    assert key() == key(mean=(0.0,) * 3, std=(1.0,) * 3)
    assert key() == cache_key([*contents[::-1], contents[0]], PREPROCESS)
    other_keys = [key(image_size=9), key(channels=1), key(resize="crop"), cache_key(contents[1:], PREPROCESS)]
    assert len({key(), *other_keys}) == 5


def test_images_above_the_size_limit_are_streamed(digests: Digests, home: Path) -> None:
    assert isinstance(store(digests, cache_limit_gb=0.99 * SIZE_GB), StreamedImages)
    assert not home.exists()
    assert isinstance(store(digests, cache_limit_gb=1.01 * SIZE_GB), CachedImages)
    assert isinstance(store(digests, cache="ram", cache_limit_gb=0.99 * SIZE_GB), CachedImages)


def test_disabled_cache_writes_nothing(digests: Digests, home: Path) -> None:
    with make_writer(cache="none") as writer:
        writer.add("a digest", np.zeros((8, 8, 3), np.uint8))
        assert isinstance(writer.finalize(digests), StreamedImages)
        assert not home.exists()


def test_full_disk_streams_with_auto_and_raises_with_disk(
    digests: Digests, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulate_full_disk(monkeypatch)
    assert isinstance(store(digests), StreamedImages)
    with pytest.raises(
        StorageError, match=r"^Cannot write 0\.0 GB of pixels to .*packed: not enough free space\..*cache=none\.$"
    ):
        store(digests, cache="disk")
    assert isinstance(store(digests, cache="ram"), CachedImages)
    assert cache_entries(home) == []


@pytest.mark.parametrize("cache", ["auto", "disk"])
def test_complete_cache_is_used_on_a_full_disk(digests: Digests, monkeypatch: pytest.MonkeyPatch, cache: str) -> None:
    store(digests)
    simulate_full_disk(monkeypatch)
    assert isinstance(store(digests, cache=cache), CachedImages)


def test_disk_that_fills_up_during_writing_disables_the_cache(
    digests: Digests, home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def raise_no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    expected = pixels_of(store(digests, cache="none"), list(digests))
    for name in ("write_json", "np.lib.format.open_memmap"):  # the last and the first file written
        with monkeypatch.context() as patch:
            patch.setattr(f"cnn_classifier.data.loading.pixel_cache.{name}", raise_no_space)
            streamed = store(digests)
            assert capfd.readouterr().err == (
                f"warning: images are decoded on each access, without a cache: Cannot write to {home / 'packed'}: "
                "No space left on device. Free space there or set CNN_CLASSIFIER_HOME.\n"
            )
            with pytest.raises(StorageError, match=r"packed: No space left on device\. Free space there or set CNN_CL"):
                store(digests, cache="disk")
        assert isinstance(streamed, StreamedImages)
        assert np.array_equal(pixels_of(streamed, list(digests)), expected)
        assert cache_entries(home) == []


@pytest.mark.parametrize("cache", ["auto", "none", "ram"])
def test_unusable_cache_directory_raises_only_with_disk(digests: Digests, home: Path, cache: str) -> None:
    home.write_text("not a folder", encoding="utf-8")
    result = store(digests, cache=cache)
    assert type(result) is (CachedImages if cache == "ram" else StreamedImages)
    assert len(pixels_of(result, list(digests))) == 6
    with pytest.raises(StorageError, match=r"packed: "):
        store(digests, cache="disk")


@pytest.mark.parametrize("file_name", ["rows.json", "images.npy"])
@pytest.mark.parametrize("damage", ["missing", "empty", "truncated"])
def test_damaged_cache_is_rebuilt(digests: Digests, home: Path, file_name: str, damage: str) -> None:
    expected = pixels_of(store(digests), list(digests))
    [folder] = cache_entries(home)
    content = (folder / file_name).read_bytes()
    (folder / file_name).unlink()
    if damage != "missing":
        (folder / file_name).write_bytes(content[: len(content) // 2 if damage == "truncated" else 0])
    for _ in range(2):
        assert np.array_equal(pixels_of(store(digests, cache="disk"), list(digests)), expected)
    assert cache_entries(home) == [folder]
    assert (folder / file_name).read_bytes() == content


@pytest.mark.skipif(os.name != "posix", reason="requires POSIX permissions")
def test_cache_of_another_user_is_readable(digests: Digests, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def raise_permission_error(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    before = os.umask(0o027)
    try:
        store(digests)
    finally:
        os.umask(before)
    [folder] = cache_entries(home)
    assert [oct(path.stat().st_mode & 0o777) for path in (folder, folder / "images.npy")] == ["0o750", "0o640"]
    monkeypatch.setattr(os, "utime", raise_permission_error)
    assert isinstance(store(digests), CachedImages)


@pytest.mark.parametrize("cache", ["auto", "disk"])
def test_complete_cache_is_used_without_write_permission(
    digests: Digests, monkeypatch: pytest.MonkeyPatch, cache: str
) -> None:
    def raise_storage_error(folder: Path) -> Path:
        raise StorageError(f"Cannot write to {folder}.")

    store(digests)
    monkeypatch.setattr("cnn_classifier.data.loading.pixel_cache.ensure_writable_dir", raise_storage_error)
    with make_writer(cache=cache) as writer:
        writer.acquire(["the digest of an unreadable file"])
        assert isinstance(writer.finalize(digests), CachedImages)


def test_partial_directory_of_killed_run_is_removed_and_of_live_run_kept(digests: Digests, home: Path) -> None:
    for name in ("killed", "alive"):
        (home / "packed" / f".partial-{name}").mkdir(parents=True)
        (home / "packed" / f"{name}.lock").touch()
    with file_lock(home / "packed" / "alive"):
        store(digests)
    assert [entry.name for entry in cache_entries(home) if entry.name.startswith(".")] == [".partial-alive"]


def test_concurrent_run_waits_for_the_cache_and_decodes_nothing(
    digests: Digests, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    with ThreadPoolExecutor() as pool, make_writer() as first:
        first.acquire(digests.values())
        second = pool.submit(store, digests)
        while "waiting for another run" not in stderr.getvalue():
            assert not second.done()
            time.sleep(0.01)
        expected = pixels_of(first.finalize(digests), list(digests))
        monkeypatch.delattr(Image, "open")
        first.__exit__()
        assert np.array_equal(pixels_of(second.result(), list(digests)), expected)
    assert len(cache_entries(home)) == 1


def test_failed_run_leaves_no_partial_directory(digests: Digests, home: Path) -> None:
    list(digests)[-1].unlink()
    with pytest.raises(DataError):
        store(digests)
    assert cache_entries(home) == []


def test_cache_published_by_another_run_is_used(digests: Digests, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_json = pixel_cache.write_json

    def write_json_and_publish(path: Path, content: object) -> None:
        write_json(path, content)
        shutil.copytree(path.parent, home / "packed" / cache_key(digests.values(), PREPROCESS))

    monkeypatch.setattr(pixel_cache, "write_json", write_json_and_publish)
    result = store(digests)
    assert np.array_equal(pixels_of(result, list(digests)), [PREPROCESS.load(path) for path in digests])
    assert len(cache_entries(home)) == 1


@pytest.mark.parametrize("cache", ["auto", "none"])
def test_file_deleted_after_the_check_raises_data_error(digests: Digests, cache: str) -> None:
    deleted = next(iter(digests))
    deleted.unlink()
    with pytest.raises(DataError, match=r"^Cannot read .*000\.png: No such file or directory\. The file was readable"):
        pixels_of(store(digests, cache=cache), list(digests))


def test_ram_cache_larger_than_memory_raises_config_error() -> None:
    with pytest.raises(
        ConfigError, match=r"^dataset\.cache=ram requires 192\d+\.\d GB, more than the available memory\. Use"
    ):
        make_writer(cache="ram", capacity=10**15).add("digest", np.zeros((8, 8, 3), np.uint8))
