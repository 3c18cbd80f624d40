"""The writer of the pixel cache, which decodes every image once into an array that later runs share."""

import hashlib
import math
import os
import shutil
import sys
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np

from cnn_classifier.data.images.preprocess import Pixels, Preprocess
from cnn_classifier.data.loading.image_store import CachedImages, ImageStore, StreamedImages, reload_image
from cnn_classifier.data.parallel import parallel_map
from cnn_classifier.errors import ConfigError, StorageError
from cnn_classifier.files import PARTIAL, cache_dir, ensure_writable_dir, file_lock, remove_stale_partials, write_json

# Part of the cache key. Increment it when a change of the code changes the pixels of a file.
CACHE_VERSION = 2


class PixelCacheWriter:
    """A writer of decoded pixels to a file that later runs share, to memory, or to nowhere.

    Use it as a context manager: call `acquire` and `add` while images are decoded, and then `finalize`.

    Args:
        preprocess: The preprocessing of the pixels.
        capacity: The maximum number of images.
        cache: The cache mode, `auto`, `ram`, `disk` or `none`, as in `DatasetConfig`.
        cache_limit_gb: The size in gigabytes above which `auto` disables the cache.
    """

    def __init__(self, preprocess: Preprocess, *, capacity: int, cache: str, cache_limit_gb: float) -> None:
        self.preprocess, self.cache = preprocess, cache
        self.shape = (capacity, preprocess.image_size, preprocess.image_size, preprocess.channels)
        self.num_bytes = math.prod(self.shape)
        self.packed_dir = cache_dir() / "packed"
        self.exit_stack = ExitStack()
        self.partial_dir: Path | None = None  # not None while this process holds the lock
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
        """Acquire the lock of these contents, so that concurrent runs decode the same images once.

        Args:
            digests: The digests of all files to decode.
        """
        if not self.enabled or self.cache == "ram" or self.partial_dir is not None:
            return
        name = cache_key(digests, self.preprocess)
        try:
            self.exit_stack.enter_context(file_lock(ensure_writable_dir(self.packed_dir) / name))
        except (OSError, StorageError) as error:
            self.lock_error = error  # raised by `_create_file`; ignored if the cache is already complete
            return
        self.partial_dir = self.packed_dir / f"{PARTIAL}{name}"
        self.exit_stack.callback(shutil.rmtree, self.partial_dir, ignore_errors=True)

    def add(self, digest: str, pixels: Pixels) -> None:
        """Store the uint8 pixels (H, W, C) of a content, if the cache is enabled; call `acquire` first."""
        buffer = self._buffer()
        if buffer is not None:
            self.row_by_digest[digest] = len(self.row_by_digest)
            buffer[self.row_by_digest[digest]] = pixels

    def finalize(self, digests: Mapping[Path, str], preprocess: Preprocess | None = None) -> ImageStore:
        """Return the images of an earlier run from the cache, or complete it by decoding the files that were not added.

        Args:
            digests: The digest of each readable file.
            preprocess: The preprocessing with the range of values, if it was measured on the images that were added.

        Raises:
            DataError: If a file can no longer be read.
            StorageError: If the pixels cannot be written, unless `cache` is `auto`.
        """
        self.preprocess = preprocess or self.preprocess
        folder = self.packed_dir / cache_key(digests.values(), self.preprocess)
        return (
            self._load_existing(folder, digests)
            or self._decode_missing(folder, digests)
            or StreamedImages(list(digests), self.preprocess)
        )

    def _load_existing(self, folder: Path, digests: Mapping[Path, str]) -> CachedImages | None:
        """Load the cache if this or a concurrent run has completed it; remove it if it is damaged."""
        if not self.enabled or self.cache == "ram":
            return None
        cached = None
        try:
            cached = CachedImages.open(folder, digests)
            if cached is None:
                self.acquire(digests.values())
                cached = CachedImages.open(folder, digests)  # completed by the run that held the lock
            if cached is None and folder.exists():
                shutil.rmtree(folder)
        except OSError as error:
            self._disable(error)
        return cached

    def _decode_missing(self, folder: Path, digests: Mapping[Path, str]) -> CachedImages | None:
        """Decode the files that were not added and publish the cache; None if the cache is disabled."""
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
            return CachedImages.open(folder, digests)
        except OSError as error:
            self._disable(error)
            return None

    def _buffer(self) -> Pixels | None:
        """Return the array of pixels, created on first use; None if the cache is disabled."""
        if self.enabled and self.pixels is None:
            try:
                self.pixels = np.empty(self.shape, np.uint8) if self.cache == "ram" else self._create_file()
            except (OSError, StorageError) as error:
                self._disable(error)
            except MemoryError as error:
                raise ConfigError(
                    f"dataset.cache=ram requires {self.num_bytes / 1e9:.1f} GB, more than the available memory. "
                    "Use dataset.cache=auto or dataset.cache=disk."
                ) from error
        return self.pixels

    def _create_file(self) -> Pixels:
        """Create the memory-mapped file in the partial directory."""
        if self.partial_dir is None:
            raise self.lock_error or RuntimeError("`acquire` must be called before `add`.")
        remove_stale_partials(self.packed_dir)
        shutil.rmtree(self.partial_dir, ignore_errors=True)
        if shutil.disk_usage(self.packed_dir).free < 1.1 * self.num_bytes:
            raise StorageError(
                f"Cannot write {self.num_bytes / 1e9:.1f} GB of pixels to {self.packed_dir}: not enough free space. "
                "Free space there (`cnn-classifier cache clear`), set CNN_CLASSIFIER_HOME, or use dataset.cache=none."
            )
        self.partial_dir.mkdir()
        images = self.partial_dir / "images.npy"
        pixels = np.lib.format.open_memmap(images, "w+", np.uint8, self.shape)
        if hasattr(os, "posix_fallocate"):  # writing to a sparse memory map on a full disk kills the process
            with images.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, images.stat().st_size)
        return pixels

    def _publish(self, folder: Path) -> None:
        """Rename the partial directory, so that other runs see a complete cache or none."""
        if self.partial_dir is None or not isinstance(self.pixels, np.memmap):
            raise RuntimeError("The pixel cache has no file to publish.")
        self.pixels.flush()
        self.pixels = None  # Windows cannot rename a mapped file
        write_json(self.partial_dir / "rows.json", self.row_by_digest)
        try:
            self.partial_dir.replace(folder)
        except OSError:
            if not folder.is_dir():  # another run has published the same images
                raise

    def _disable(self, error: OSError | StorageError) -> None:
        """Disable the cache if `cache` is `auto`, otherwise raise the error as a `StorageError`."""
        storage_error = error
        if isinstance(error, OSError):
            storage_error = StorageError(
                f"Cannot write to {self.packed_dir}: {error.strerror}. Free space there or set CNN_CLASSIFIER_HOME."
            )
        if self.cache != "auto":
            raise storage_error from error
        print(f"warning: images are decoded on each access, without a cache: {storage_error}", file=sys.stderr)
        self.enabled, self.pixels = False, None


def cache_key(digests: Iterable[str], preprocess: Preprocess) -> str:
    """Return the name of the cache of these contents and this preprocessing, without normalization."""
    settings = f"{CACHE_VERSION} {preprocess.image_size} {preprocess.channels} {preprocess.resize}"
    settings += "" if preprocess.value_range is None else f" {preprocess.value_range}"
    return hashlib.sha256(" ".join([settings, *sorted(set(digests))]).encode()).hexdigest()[:32]
