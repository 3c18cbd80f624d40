"""Images are decoded once, whatever happens to the disk; packed or streamed they are the same pixels."""

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
from cnn_classifier.data.loading import pixel_cache as cache
from cnn_classifier.data.loading.image_store import PREFETCH_BATCHES, CachedImages, ImageStore, StreamedImages
from cnn_classifier.data.loading.pixel_cache import PixelCacheWriter, cache_key
from cnn_classifier.errors import ConfigError, DataError, StorageError
from cnn_classifier.files import file_lock

pytestmark = pytest.mark.usefixtures("home")

PREPROCESS = Preprocess(image_size=8, channels=3, resize="stretch", mean=(0.5,) * 3, std=(0.25,) * 3)
SIZE_GB = 6 * 8 * 8 * 3 / 1e9  # of the six images below
Digests = dict[Path, str]


@pytest.fixture
def digests(make_folder: Callable[..., Path]) -> Digests:
    return digests_of(make_folder({"cats": 3, "dogs": 3}))


def digests_of(root: Path) -> Digests:
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(root.rglob("*.png"))}


def packing(*, cache: str = "auto", cache_limit_gb: float = 1.0, capacity: int = 6) -> PixelCacheWriter:
    return PixelCacheWriter(PREPROCESS, capacity=capacity, cache=cache, cache_limit_gb=cache_limit_gb)


def store(digests: Digests, **options: object) -> ImageStore:
    with packing(**options) as place:
        return place.finalize(digests)


def pixels_of(store: ImageStore, paths: list[Path]) -> np.ndarray:
    [pixels] = store.iter_batches([store.get_rows(paths)])
    return pixels


def left_in(home: Path) -> list[Path]:
    """What is in the cache's folder but locks, which stay."""
    return [entry for entry in (home / "packed").iterdir() if entry.suffix != ".lock"]


def no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))


@pytest.mark.parametrize("cache", ["auto", "disk", "ram"])
def test_packed_pixels_equal_streamed_ones_in_any_order(digests: Digests, cache: str) -> None:
    packed, streamed = store(digests, cache=cache), store(digests, cache="none")
    assert (type(packed), type(streamed)) == (CachedImages, StreamedImages)
    paths = list(digests)
    wanted = [paths[5], paths[0], paths[0], paths[3]]
    pixels = pixels_of(packed, wanted)
    assert (pixels.shape, pixels.dtype) == ((4, 8, 8, 3), np.uint8)
    assert np.array_equal(pixels, pixels_of(streamed, wanted))
    assert np.array_equal(pixels[0], PREPROCESS.load(paths[5]))


def test_streaming_far_ahead_keeps_the_order(digests: Digests) -> None:
    streamed, paths = store(digests, cache="none"), list(digests)
    rows = [streamed.get_rows([paths[step % 6], paths[step % 5]]) for step in range(3 * PREFETCH_BATCHES)]
    pixels = list(streamed.iter_batches(iter(rows)))
    assert len(pixels) == len(rows)
    for step, pair in enumerate(pixels):
        assert np.array_equal(pair, [PREPROCESS.load(paths[step % 6]), PREPROCESS.load(paths[step % 5])])
    assert list(streamed.iter_batches([])) == []


def test_a_later_run_finds_them_packed(digests: Digests, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = pixels_of(store(digests), list(digests))
    monkeypatch.delattr(Image, "open")
    assert np.array_equal(pixels_of(store(digests), list(digests)), first)
    assert len(left_in(home)) == 1


def test_what_was_added_is_not_decoded_again(digests: Digests, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = np.stack([PREPROCESS.load(path) for path in digests])
    with packing() as place:
        place.acquire(digests.values())
        for digest, pixels in zip(digests.values(), expected, strict=True):
            place.add(digest, pixels)
        monkeypatch.delattr(Image, "open")
        assert np.array_equal(pixels_of(place.finalize(digests), list(digests)), expected)


@pytest.mark.parametrize("cache", ["auto", "ram"])
def test_a_content_of_several_files_is_kept_once(digests: Digests, cache: str) -> None:
    first, *_, last = digests
    shutil.copy(first, last)
    same = digests_of(first.parent.parent)
    packed = store(same, cache=cache)
    assert packed.get_rows([first]).tolist() == packed.get_rows([last]).tolist()
    assert len(packed.row_by_digest) == 5
    assert np.array_equal(pixels_of(packed, [last]), [PREPROCESS.load(first)])


def test_the_key_knows_contents_and_pixels_but_neither_names_nor_what_comes_later(digests: Digests) -> None:
    def key(**values: object) -> str:
        return cache_key(digests.values(), Preprocess(**{**PREPROCESS.to_dict(), **values}))

    contents = list(digests.values())
    assert key() == key(mean=(0.0,) * 3, std=(1.0,) * 3)
    assert key() == cache_key([*contents[::-1], contents[0]], PREPROCESS)
    others = [key(image_size=9), key(channels=1), key(resize="crop"), cache_key(contents[1:], PREPROCESS)]
    assert len({key(), *others}) == 5


def test_more_than_the_limit_is_streamed_and_nothing_is_written(digests: Digests, home: Path) -> None:
    assert isinstance(store(digests, cache_limit_gb=0.99 * SIZE_GB), StreamedImages)
    assert not home.exists()
    assert isinstance(store(digests, cache_limit_gb=1.01 * SIZE_GB), CachedImages)
    assert isinstance(store(digests, cache="ram", cache_limit_gb=0.99 * SIZE_GB), CachedImages)


def test_what_is_not_kept_is_not_written_either(digests: Digests, home: Path) -> None:
    with packing(cache="none") as place:
        place.add("a digest", np.zeros((8, 8, 3), np.uint8))
        assert isinstance(place.finalize(digests), StreamedImages)
        assert not home.exists()


def test_without_room_on_the_disk_auto_streams_and_disk_says_what_to_do(
    digests: Digests, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_room(monkeypatch)
    assert isinstance(store(digests), StreamedImages)
    with pytest.raises(StorageError, match=r"packed: 0\.0 GB of pixels do not fit; free space there .*cache=none$"):
        store(digests, cache="disk")
    assert isinstance(store(digests, cache="ram"), CachedImages)
    assert left_in(home) == []


@pytest.mark.parametrize("cache", ["auto", "disk"])
def test_what_is_packed_already_needs_no_more_room(
    digests: Digests, monkeypatch: pytest.MonkeyPatch, cache: str
) -> None:
    store(digests)
    no_room(monkeypatch)
    assert isinstance(store(digests, cache=cache), CachedImages)


def test_a_disk_that_fills_up_ends_no_run_that_may_stream_and_leaves_nothing_behind(
    digests: Digests, home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    expected = pixels_of(store(digests, cache="none"), list(digests))
    for name in ("write_json", "np.lib.format.open_memmap"):  # the last thing to be written, and the first
        with monkeypatch.context() as patch:
            patch.setattr(f"cnn_classifier.data.loading.pixel_cache.{name}", full)
            streamed = store(digests)
            told = f"warning: {home / 'packed'}: No space left on device; free space there or set CNN_CLASSIFIER_HOME"
            assert capfd.readouterr().err == f"{told}; for now images are decoded each time they are used\n"
            with pytest.raises(StorageError, match=r"packed: No space left on device; free space there or set CNN_CL"):
                store(digests, cache="disk")
        assert isinstance(streamed, StreamedImages)
        assert np.array_equal(pixels_of(streamed, list(digests)), expected)
        assert left_in(home) == []


@pytest.mark.parametrize("cache", ["auto", "none", "ram"])
def test_a_cache_folder_that_cannot_be_is_an_error_only_where_it_is_asked_for(
    digests: Digests, home: Path, cache: str
) -> None:
    home.write_text("no folder", encoding="utf-8")
    images = store(digests, cache=cache)
    assert type(images) is (CachedImages if cache == "ram" else StreamedImages)
    assert len(pixels_of(images, list(digests))) == 6
    with pytest.raises(StorageError, match=r"packed: "):
        store(digests, cache="disk")


@pytest.mark.parametrize("damaged", ["rows.json", "images.npy"])
@pytest.mark.parametrize("damage", ["gone", "empty", "cut"])
def test_damaged_pixels_are_decoded_again(digests: Digests, home: Path, damaged: str, damage: str) -> None:
    expected = pixels_of(store(digests), list(digests))
    [folder] = left_in(home)
    content = (folder / damaged).read_bytes()
    (folder / damaged).unlink()
    if damage != "gone":
        (folder / damaged).write_bytes(content[: len(content) // 2 if damage == "cut" else 0])
    for _ in range(2):
        assert np.array_equal(pixels_of(store(digests, cache="disk"), list(digests)), expected)
    assert left_in(home) == [folder]
    assert (folder / damaged).read_bytes() == content


@pytest.mark.skipif(os.name != "posix", reason="Windows has other permissions")
def test_whoever_shares_the_cache_may_read_it_though_not_touch_it(
    digests: Digests, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    before = os.umask(0o027)
    try:
        store(digests)
    finally:
        os.umask(before)
    [folder] = left_in(home)
    assert [oct(path.stat().st_mode & 0o777) for path in (folder, folder / "images.npy")] == ["0o750", "0o640"]
    monkeypatch.setattr(os, "utime", denied)
    assert isinstance(store(digests), CachedImages)


@pytest.mark.parametrize("cache", ["auto", "disk"])
def test_what_is_packed_serves_whoever_may_not_write_there(
    digests: Digests, monkeypatch: pytest.MonkeyPatch, cache: str
) -> None:
    def denied(folder: Path) -> Path:
        raise StorageError(f"{folder} cannot be written")

    store(digests)
    monkeypatch.setattr("cnn_classifier.data.loading.pixel_cache.ensure_writable_dir", denied)
    with packing(cache=cache) as place:
        place.acquire(["a file that cannot be read is looked at each time"])
        assert isinstance(place.finalize(digests), CachedImages)


def test_what_a_killed_run_left_goes_when_the_next_one_packs_and_what_a_live_one_makes_stays(
    digests: Digests, home: Path
) -> None:
    for name in ("killed", "alive"):
        (home / "packed" / f".partial-{name}").mkdir(parents=True)
        (home / "packed" / f"{name}.lock").touch()
    with file_lock(home / "packed" / "alive"):
        store(digests)
    assert [entry.name for entry in left_in(home) if entry.name.startswith(".")] == [".partial-alive"]


def test_of_two_runs_that_start_together_the_second_waits_and_decodes_nothing(
    digests: Digests, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = io.StringIO()
    monkeypatch.setattr(sys, "stderr", said)
    with ThreadPoolExecutor() as pool, packing() as first:
        first.acquire(digests.values())
        second = pool.submit(store, digests)
        while "waiting for another run" not in said.getvalue():
            assert not second.done()
            time.sleep(0.01)
        expected = pixels_of(first.finalize(digests), list(digests))
        monkeypatch.delattr(Image, "open")
        first.__exit__()
        assert np.array_equal(pixels_of(second.result(), list(digests)), expected)
    assert len(left_in(home)) == 1


def test_a_run_that_ends_early_leaves_nothing_behind(digests: Digests, home: Path) -> None:
    list(digests)[-1].unlink()
    with pytest.raises(DataError):
        store(digests)
    assert left_in(home) == []


def test_of_two_runs_that_pack_the_same_in_spite_of_that_the_first_wins(
    digests: Digests, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_json = cache.write_json

    def meanwhile(path: Path, content: object) -> None:
        write_json(path, content)
        shutil.copytree(path.parent, home / "packed" / cache_key(digests.values(), PREPROCESS))

    monkeypatch.setattr(cache, "write_json", meanwhile)
    late = store(digests)
    assert np.array_equal(pixels_of(late, list(digests)), [PREPROCESS.load(path) for path in digests])
    assert len(left_in(home)) == 1


@pytest.mark.parametrize("cache", ["auto", "none"])
def test_a_file_that_is_gone_since_it_was_checked_is_named(digests: Digests, cache: str) -> None:
    gone = next(iter(digests))
    gone.unlink()
    with pytest.raises(DataError, match=r"000\.png could be read when it was checked, but not now: No such file or"):
        pixels_of(store(digests, cache=cache), list(digests))


def test_pixels_that_do_not_fit_into_memory_are_one_clear_line() -> None:
    with pytest.raises(
        ConfigError, match=r"^dataset.cache=ram: 192\d+\.\d GB do not fit into memory; expected auto or"
    ):
        packing(cache="ram", capacity=10**15).add("digest", np.zeros((8, 8, 3), np.uint8))
