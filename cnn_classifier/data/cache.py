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

from cnn_classifier.data.lock import PARTIAL, locked, remove_abandoned
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
        self.held = ExitStack()
        self.partial: Path | None = None  # a folder that we hold, or why we do not
        self.refused: OSError | StorageError | None = None
        self.pixels: Pixels | None = None
        self.row_of: dict[str, int] = {}
        self.keeps = cache != "none" and not (cache == "auto" and self.size > cache_limit_gb * 1e9)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.pixels = None
        self.held.close()

    def claim(self, digests: Iterable[str]) -> None:
        """Of runs that start on the same contents one decodes them; the others wait here until it has."""
        if not self.keeps or self.cache == "ram" or self.partial is not None:
            return
        name = cache_key(digests, self.preprocess)
        try:
            self.held.enter_context(locked(make_folder(self.home) / name))
        except (OSError, StorageError) as error:
            self.refused = error  # of no matter to a run that finds all of it packed
            return
        self.partial = self.home / f"{PARTIAL}{name}"
        self.held.callback(shutil.rmtree, self.partial, ignore_errors=True)

    def add(self, digest: str, pixels: Pixels) -> None:
        """Keep the pixels (H, W, C) of a file with these contents, if there is room; after `claim`."""
        room = self._room()
        if room is not None:
            self.row_of[digest] = len(self.row_of)
            room[self.row_of[digest]] = pixels

    def finish(self, digests: Mapping[Path, str]) -> ImageStore:
        """The pixels of exactly these readable files; what was not added is packed from an earlier run or decoded now.

        Raises:
            DataError: If a file can no longer be read.
            StorageError: If they cannot be written, unless `cache` is `auto`.
        """
        folder = self.home / cache_key(digests.values(), self.preprocess)
        return (
            self._found(folder, digests)
            or self._decoded(folder, digests)
            or StreamedImages(list(digests), self.preprocess)
        )

    def _found(self, folder: Path, digests: Mapping[Path, str]) -> PackedImages | None:
        """What an earlier run packed, or the one that we waited for; what is damaged is removed."""
        if not self.keeps or self.cache == "ram":
            return None
        packed = None
        try:
            packed = open_packed(folder, digests)
            if packed is None:
                self.claim(digests.values())
                packed = open_packed(folder, digests)  # another run may have made it while we waited
            if packed is None and folder.exists():
                shutil.rmtree(folder)
        except OSError as error:
            self._do_without(error)
        return packed

    def _decoded(self, folder: Path, digests: Mapping[Path, str]) -> PackedImages | None:
        room = self._room()
        if room is None:
            return None
        first_of = {digest: path for path, digest in digests.items() if digest not in self.row_of}
        load = partial(load_again, preprocess=self.preprocess)
        for path, pixels in parallel_map(load, list(first_of.values()), "decoding images"):
            self.add(digests[path], pixels)
        if self.cache == "ram":
            return PackedImages(room, self.row_of, digests)
        del room  # Windows cannot rename a mapped file
        try:
            self._publish(folder)
            return open_packed(folder, digests)
        except OSError as error:
            self._do_without(error)
            return None

    def _room(self) -> Pixels | None:
        """Where pixels go, made when it is first needed; None if they are not kept."""
        if self.keeps and self.pixels is None:
            try:
                self.pixels = np.empty(self.shape, np.uint8) if self.cache == "ram" else self._file()
            except (OSError, StorageError) as error:
                self._do_without(error)
            except MemoryError as error:
                size = f"{self.size / 1e9:.1f} GB"
                raise ConfigError(f"dataset.cache=ram: {size} do not fit into memory; expected auto or disk") from error
        return self.pixels

    def _file(self) -> Pixels:
        if self.partial is None:
            raise self.refused or RuntimeError("add before claim")
        remove_abandoned(self.home)
        shutil.rmtree(self.partial, ignore_errors=True)
        if shutil.disk_usage(self.home).free < 1.1 * self.size:
            raise StorageError(
                f"{self.home}: {self.size / 1e9:.1f} GB of pixels do not fit; free space there (`cnn-classifier data "
                "clean`), set CNN_CLASSIFIER_HOME, or use dataset.cache=none"
            )
        self.partial.mkdir()
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
        self.pixels.flush()
        self.pixels = None  # Windows cannot rename a mapped file
        write_json(self.partial / "rows.json", self.row_of)
        try:
            self.partial.replace(folder)
        except OSError:
            if not folder.is_dir():  # otherwise another run packed the same images first
                raise

    def _do_without(self, error: OSError | StorageError) -> None:
        """Decode the images each time instead, if the choice is ours."""
        told = error
        if isinstance(error, OSError):
            told = StorageError(f"{self.home}: {error.strerror}; free space there or set CNN_CLASSIFIER_HOME")
        if self.cache != "auto":
            raise told from error
        print(f"warning: {told}; for now images are decoded each time they are used", file=sys.stderr)
        self.keeps, self.pixels = False, None


def open_packed(folder: Path, digests: Mapping[Path, str]) -> PackedImages | None:
    """The pixels that an earlier run packed; None if there are none, or if they are damaged."""
    try:
        row_of = json.loads((folder / "rows.json").read_text(encoding="utf-8"))
        pixels = np.load(folder / "images.npy", mmap_mode="r")
    except (FileNotFoundError, EOFError, ValueError):
        return None
    if any(row_of.get(digest, len(pixels)) >= len(pixels) for digest in digests.values()):
        return None
    with suppress(OSError):  # another user's
        os.utime(folder)  # `data clean` tells when it was last of use
    return PackedImages(pixels, row_of, digests)


def cache_key(digests: Iterable[str], preprocess: Preprocess) -> str:
    """A name for exactly these contents and this preprocessing, without what is applied later."""
    what = f"{PIXELS_VERSION} {preprocess.image_size} {preprocess.channels} {preprocess.resize}"
    return hashlib.sha256(" ".join([what, *sorted(set(digests))]).encode()).hexdigest()[:32]
