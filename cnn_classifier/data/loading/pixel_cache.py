"""Decode every image once, into a packed array of final pixels that later runs share."""

import hashlib
import json
import math
import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np

from cnn_classifier.data.images.preprocess import Pixels, Preprocess
from cnn_classifier.data.loading.image_store import CachedImages, ImageStore, StreamedImages, reload_image
from cnn_classifier.data.parallel import parallel_map
from cnn_classifier.errors import ConfigError, StorageError
from cnn_classifier.files import PARTIAL, cache_dir, ensure_writable_dir, file_lock, remove_stale_partials, write_json

# Part of the key: raise it when the same file and the same Preprocess give other pixels than before.
CACHE_VERSION = 2


class PixelCacheWriter:
    """Where pixels go as they are decoded: into a file that later runs share, into memory, or nowhere.

    Args:
        preprocess: How they are made.
        capacity: For how many images there must be room.
        cache: `auto`, `ram`, `disk` or `none`, as in `DatasetOptions`.
        cache_limit_gb: Above this size in gigabytes `auto` keeps nothing.
    """

    def __init__(self, preprocess: Preprocess, *, capacity: int, cache: str, cache_limit_gb: float) -> None:
        self.preprocess, self.cache = preprocess, cache
        self.shape = (capacity, preprocess.image_size, preprocess.image_size, preprocess.channels)
        self.num_bytes = math.prod(self.shape)
        self.packed_dir = cache_dir() / "packed"
        self.exit_stack = ExitStack()
        self.partial_dir: Path | None = None  # a folder that we hold, or why we do not
        self.lock_error: OSError | StorageError | None = None
        self.pixels: Pixels | None = None
        self.row_by_digest: dict[str, int] = {}
        self.enabled = cache != "none" and not (cache == "auto" and self.num_bytes > cache_limit_gb * 1e9)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.pixels = None
        self.exit_stack.close()

    def acquire(self, digests: Iterable[str]) -> None:
        """Of runs that start on the same contents one decodes them; the others wait here until it has."""
        if not self.enabled or self.cache == "ram" or self.partial_dir is not None:
            return
        name = cache_key(digests, self.preprocess)
        try:
            self.exit_stack.enter_context(file_lock(ensure_writable_dir(self.packed_dir) / name))
        except (OSError, StorageError) as error:
            self.lock_error = error  # of no matter to a run that finds all of it packed
            return
        self.partial_dir = self.packed_dir / f"{PARTIAL}{name}"
        self.exit_stack.callback(shutil.rmtree, self.partial_dir, ignore_errors=True)

    def add(self, digest: str, pixels: Pixels) -> None:
        """Keep the pixels (H, W, C) of a file with these contents, if there is room; after `claim`."""
        buffer = self._buffer()
        if buffer is not None:
            self.row_by_digest[digest] = len(self.row_by_digest)
            buffer[self.row_by_digest[digest]] = pixels

    def finalize(self, digests: Mapping[Path, str]) -> ImageStore:
        """The pixels of exactly these readable files; what was not added is packed from an earlier run or decoded now.

        Raises:
            DataError: If a file can no longer be read.
            StorageError: If they cannot be written, unless `cache` is `auto`.
        """
        folder = self.packed_dir / cache_key(digests.values(), self.preprocess)
        return (
            self._load_existing(folder, digests)
            or self._decode_missing(folder, digests)
            or StreamedImages(list(digests), self.preprocess)
        )

    def _load_existing(self, folder: Path, digests: Mapping[Path, str]) -> CachedImages | None:
        """What an earlier run packed, or the one that we waited for; what is damaged is removed."""
        if not self.enabled or self.cache == "ram":
            return None
        cached = None
        try:
            cached = open_pixel_cache(folder, digests)
            if cached is None:
                self.acquire(digests.values())
                cached = open_pixel_cache(folder, digests)  # another run may have made it while we waited
            if cached is None and folder.exists():
                shutil.rmtree(folder)
        except OSError as error:
            self._disable(error)
        return cached

    def _decode_missing(self, folder: Path, digests: Mapping[Path, str]) -> CachedImages | None:
        buffer = self._buffer()
        if buffer is None:
            return None
        missing_paths = {digest: path for path, digest in digests.items() if digest not in self.row_by_digest}
        load = partial(reload_image, preprocess=self.preprocess)
        for path, pixels in parallel_map(load, list(missing_paths.values()), "decoding images"):
            self.add(digests[path], pixels)
        if self.cache == "ram":
            return CachedImages(buffer, self.row_by_digest, digests)
        del buffer  # Windows cannot rename a mapped file
        try:
            self._publish(folder)
            return open_pixel_cache(folder, digests)
        except OSError as error:
            self._disable(error)
            return None

    def _buffer(self) -> Pixels | None:
        """Where pixels go, made when it is first needed; None if they are not kept."""
        if self.enabled and self.pixels is None:
            try:
                self.pixels = np.empty(self.shape, np.uint8) if self.cache == "ram" else self._create_file()
            except (OSError, StorageError) as error:
                self._disable(error)
            except MemoryError as error:
                size = f"{self.num_bytes / 1e9:.1f} GB"
                raise ConfigError(f"dataset.cache=ram: {size} do not fit into memory; expected auto or disk") from error
        return self.pixels

    def _create_file(self) -> Pixels:
        if self.partial_dir is None:
            raise self.lock_error or RuntimeError("add before claim")
        remove_stale_partials(self.packed_dir)
        shutil.rmtree(self.partial_dir, ignore_errors=True)
        if shutil.disk_usage(self.packed_dir).free < 1.1 * self.num_bytes:
            raise StorageError(
                f"{self.packed_dir}: {self.num_bytes / 1e9:.1f} GB of pixels do not fit; free space there (`cnn-classifier data "
                "clean`), set CNN_CLASSIFIER_HOME, or use dataset.cache=none"
            )
        self.partial_dir.mkdir()
        images = self.partial_dir / "images.npy"
        pixels = np.lib.format.open_memmap(images, "w+", np.uint8, self.shape)
        if hasattr(os, "posix_fallocate"):  # a disk that fills up later would end the process without a word
            with images.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, images.stat().st_size)
        return pixels

    def _publish(self, folder: Path) -> None:
        """The folder appears whole or not at all."""
        if self.partial_dir is None or not isinstance(self.pixels, np.memmap):
            raise RuntimeError("nothing was packed")
        self.pixels.flush()
        self.pixels = None  # Windows cannot rename a mapped file
        write_json(self.partial_dir / "rows.json", self.row_by_digest)
        try:
            self.partial_dir.replace(folder)
        except OSError:
            if not folder.is_dir():  # otherwise another run packed the same images first
                raise

    def _disable(self, error: OSError | StorageError) -> None:
        """Decode the images each time instead, if the choice is ours."""
        storage_error = error
        if isinstance(error, OSError):
            storage_error = StorageError(
                f"{self.packed_dir}: {error.strerror}; free space there or set CNN_CLASSIFIER_HOME"
            )
        if self.cache != "auto":
            raise storage_error from error
        print(f"warning: {storage_error}; for now images are decoded each time they are used", file=sys.stderr)
        self.enabled, self.pixels = False, None


def open_pixel_cache(folder: Path, digests: Mapping[Path, str]) -> CachedImages | None:
    """The pixels that an earlier run packed; None if there are none, or if they are damaged."""
    try:
        row_by_digest = json.loads((folder / "rows.json").read_text(encoding="utf-8"))
        pixels = np.load(folder / "images.npy", mmap_mode="r")
    except (FileNotFoundError, EOFError, ValueError):
        return None
    if any(row_by_digest.get(digest, len(pixels)) >= len(pixels) for digest in digests.values()):
        return None
    with suppress(OSError):  # another user's
        os.utime(folder)  # `data clean` tells when it was last of use
    return CachedImages(pixels, row_by_digest, digests)


def cache_key(digests: Iterable[str], preprocess: Preprocess) -> str:
    """A name for exactly these contents and this preprocessing, without what is applied later."""
    settings = f"{CACHE_VERSION} {preprocess.image_size} {preprocess.channels} {preprocess.resize}"
    return hashlib.sha256(" ".join([settings, *sorted(set(digests))]).encode()).hexdigest()[:32]
