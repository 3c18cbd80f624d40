"""Decode every image once, into a packed array of final pixels that later runs share."""

import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np

from cnn_classifier.data.parallel import parallel_map
from cnn_classifier.data.preprocess import Pixels, Preprocess
from cnn_classifier.data.store import ImageStore, PackedImages, StreamedImages, load_again
from cnn_classifier.errors import ConfigError, StorageError
from cnn_classifier.storage import cache_home, make_folder, write_json

# Part of the key: raise it when the same file and the same Preprocess give other pixels than before.
PIXELS_VERSION = 2


class Packing:
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
        self.size = math.prod(self.shape)
        self.home = cache_home() / "packed"
        self.partial: Path | None = None
        self.pixels: Pixels | None = None
        self.row_of: dict[str, int] = {}
        self.keeps = cache != "none" and not (cache == "auto" and self.size > cache_limit_gb * 1e9)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.pixels = None
        if self.partial is not None:
            shutil.rmtree(self.partial, ignore_errors=True)

    def add(self, digest: str, pixels: Pixels) -> None:
        """Keep the pixels (H, W, C) of a file with these contents, if there is room."""
        room = self._room()
        if room is not None:
            self.row_of[digest] = len(self.row_of)
            room[self.row_of[digest]] = pixels

    def finish(self, digests: Mapping[Path, str]) -> ImageStore:
        """The pixels of exactly these readable files; what was not added is packed from an earlier run or decoded now.

        Raises:
            DataError: If a file can no longer be read.
            StorageError: If they cannot be written.
        """
        folder = self.home / cache_key(digests.values(), self.preprocess)
        if self.keeps and self.cache != "ram" and folder.is_dir():
            return open_packed(folder, digests)
        room = self._room()
        if room is None:
            return StreamedImages(list(digests), self.preprocess)
        first_of = {digest: path for path, digest in digests.items() if digest not in self.row_of}
        load = partial(load_again, preprocess=self.preprocess)
        for path, pixels in parallel_map(load, list(first_of.values()), "decoding images"):
            self.add(digests[path], pixels)
        if self.cache == "ram":
            return PackedImages(room, self.row_of, digests)
        del room  # Windows cannot rename a mapped file
        self._publish(folder)
        return open_packed(folder, digests)

    def _room(self) -> Pixels | None:
        """Where pixels go, made when it is first needed; None if they are not kept."""
        if self.keeps and self.pixels is None:
            try:
                self.pixels = np.empty(self.shape, np.uint8) if self.cache == "ram" else self._file()
            except OSError as error:
                raise self._unwritable(error) from error
            except MemoryError as error:
                size = f"{self.size / 1e9:.1f} GB"
                raise ConfigError(f"dataset.cache=ram: {size} do not fit into memory; expected auto or disk") from error
            self.keeps = self.pixels is not None
        return self.pixels

    def _file(self) -> Pixels | None:
        if shutil.disk_usage(make_folder(self.home)).free < 1.1 * self.size:
            if self.cache == "auto":
                return None
            raise StorageError(
                f"{self.home}: {self.size / 1e9:.1f} GB of pixels do not fit; free space there (`cnn-classifier data "
                "clean`), set CNN_CLASSIFIER_HOME, or use dataset.cache=none"
            )
        self.partial = Path(tempfile.mkdtemp(dir=self.home, prefix=".partial-"))
        images = self.partial / "images.npy"
        pixels = np.lib.format.open_memmap(images, "w+", np.uint8, self.shape)
        if hasattr(os, "posix_fallocate"):  # a disk that fills up later would end the process without a word
            with images.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, images.stat().st_size)
        return pixels

    def _publish(self, folder: Path) -> None:
        """The folder appears whole or not at all."""
        if self.partial is None or not isinstance(self.pixels, np.memmap):
            raise RuntimeError("nothing was packed")
        try:
            self.pixels.flush()
            self.pixels = None  # Windows cannot rename a mapped file
            write_json(self.partial / "rows.json", self.row_of)
            try:
                self.partial.replace(folder)
            except OSError:
                if not folder.is_dir():  # otherwise another run packed the same images first
                    raise
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> StorageError:
        return StorageError(f"{self.home}: {error.strerror}; free space there or set CNN_CLASSIFIER_HOME")


def open_packed(folder: Path, digests: Mapping[Path, str]) -> PackedImages:
    """The pixels that an earlier run packed."""
    os.utime(folder)  # `data clean` tells when it was last of use
    row_of = json.loads((folder / "rows.json").read_text(encoding="utf-8"))
    return PackedImages(np.load(folder / "images.npy", mmap_mode="r"), row_of, digests)


def cache_key(digests: Iterable[str], preprocess: Preprocess) -> str:
    """A name for exactly these contents and this preprocessing, without what is applied later."""
    what = f"{PIXELS_VERSION} {preprocess.image_size} {preprocess.channels} {preprocess.resize}"
    return hashlib.sha256(" ".join([what, *sorted(set(digests))]).encode()).hexdigest()[:32]
