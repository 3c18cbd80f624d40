"""Decode every image once: a packed array of final pixels that later runs share, or the files themselves."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from cnn_classifier.data.preprocess import Pixels, Preprocess
from cnn_classifier.errors import StorageError, UnreadableImageError
from cnn_classifier.storage import cache_home, make_folder, write_json

# Part of the key: raise it when the same file and the same Preprocess give other pixels than before.
PIXELS_VERSION = 1
DECODE_THREADS = min(8, os.cpu_count() or 1)


class ImageStore(Protocol):
    """Final pixels by index; `unreadable` maps the index of every image that could not be decoded to the reason."""

    unreadable: dict[int, str]

    def __len__(self) -> int: ...

    def __getitem__(self, indices: npt.NDArray[np.int64]) -> Pixels:
        """Uint8 (B, H, W, C) of these images."""
        ...


class PackedImages:
    """All images decoded, in one memory-mapped file."""

    def __init__(self, folder: Path) -> None:
        self.pixels: Pixels = np.load(folder / "images.npy", mmap_mode="r")
        known = json.loads((folder / "unreadable.json").read_text(encoding="utf-8"))
        self.unreadable = {int(index): reason for index, reason in known.items()}

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, indices: npt.NDArray[np.int64]) -> Pixels:
        return self.pixels[indices]


class StreamedImages:
    """The same pixels, decoded from the files each time they are asked for: for data too large to pack."""

    def __init__(self, paths: Sequence[Path], preprocess: Preprocess) -> None:
        self.paths, self.preprocess = paths, preprocess
        self.pool = ThreadPoolExecutor(DECODE_THREADS)
        outcomes = tqdm(self.pool.map(self._reason, paths), "checking images", len(paths), disable=None)
        self.unreadable = {index: reason for index, reason in enumerate(outcomes) if reason}

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, indices: npt.NDArray[np.int64]) -> Pixels:
        return np.stack(list(self.pool.map(lambda index: self.preprocess.load(self.paths[index]), indices)))

    def _reason(self, path: Path) -> str | None:
        try:
            self.preprocess.load(path)
        except UnreadableImageError as error:
            return str(error)
        return None


def image_store(paths: Sequence[Path], preprocess: Preprocess, *, cache: str, cache_limit_gb: float) -> ImageStore:
    """The pixels of these files, packed if the mode, the limit and the disk allow it."""
    size = len(paths) * preprocess.image_size**2 * preprocess.channels
    if cache == "none" or size > cache_limit_gb * 1e9:
        return StreamedImages(paths, preprocess)
    home = make_folder(cache_home() / "packed")
    folder = home / cache_key(paths, preprocess)
    if not folder.is_dir():
        if shutil.disk_usage(home).free < 1.1 * size:
            return StreamedImages(paths, preprocess)
        pack(paths, preprocess, folder)
    return PackedImages(folder)


def cache_key(paths: Sequence[Path], preprocess: Preprocess) -> str:
    """A name for exactly these files, as they are now, and this preprocessing without what is applied later."""
    digest = hashlib.sha256(
        f"{PIXELS_VERSION} {preprocess.image_size} {preprocess.channels} {preprocess.resize}".encode()
    )
    for path in paths:
        status = path.stat() if path.exists() else None  # a link to nowhere: it will be listed as unreadable
        state = f"{status.st_size} {status.st_mtime_ns}" if status else "missing"
        digest.update(f"\0{path.resolve()}\0{state}".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:32]


def pack(paths: Sequence[Path], preprocess: Preprocess, folder: Path) -> None:
    """Decode all files into `folder/images.npy`; the folder appears whole or not at all."""
    partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".partial-"))
    try:
        shape = (len(paths), preprocess.image_size, preprocess.image_size, preprocess.channels)
        images = np.lib.format.open_memmap(partial / "images.npy", "w+", np.uint8, shape)
        unreadable = {}
        for index, (pixels, reason) in enumerate(
            tqdm(decode_all(paths, preprocess), "decoding images", len(paths), disable=None)
        ):
            if pixels is None:
                unreadable[index] = reason
            else:
                images[index] = pixels
        images.flush()
        del images  # Windows cannot rename a mapped file
        write_json(partial / "unreadable.json", unreadable)
        try:
            partial.replace(folder)
        except OSError:
            if not folder.is_dir():  # otherwise another run packed the same images first
                raise
    except OSError as error:
        raise StorageError(f"{folder.parent}: {error.strerror}; free space there or set CNN_CLASSIFIER_HOME") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def decode_all(paths: Sequence[Path], preprocess: Preprocess) -> Iterator[tuple[Pixels | None, str]]:
    """The pixels of each file in order, or None and the reason; Pillow decodes without the interpreter lock."""

    def load(path: Path) -> tuple[Pixels | None, str]:
        try:
            return preprocess.load(path), ""
        except UnreadableImageError as error:
            return None, str(error)

    with ThreadPoolExecutor(DECODE_THREADS) as pool:
        for start in range(0, len(paths), 256):  # in blocks, so that decoded images do not pile up
            yield from pool.map(load, paths[start : start + 256])
