"""Stores of preprocessed pixels, addressed by row: cached, or decoded from the files on each access."""

import json
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt

from cnn_classifier.data.images.preprocess import Pixels, Preprocess
from cnn_classifier.data.parallel import NUM_DECODE_THREADS
from cnn_classifier.data.sources.layout import common_root
from cnn_classifier.errors import DataError, UnreadableImageError
from cnn_classifier.files import SOURCE_FILE

PREFETCH_BATCHES = 4
Rows = npt.NDArray[np.int64]


class ImageStore(Protocol):
    """A store of preprocessed pixels, addressed by row."""

    def get_rows(self, paths: Sequence[Path]) -> Rows:
        """Return the row of each file, int64 of shape (N,)."""
        ...

    def iter_batches(self, rows: Iterable[Rows]) -> Iterator[Pixels]:
        """Yield the pixels of each batch of rows, uint8 of shape (B, H, W, C)."""
        ...


class CachedImages:
    """Decoded images in a memory-mapped file or in memory; files with identical bytes share a row.

    Args:
        pixels: The uint8 pixels of shape (N, H, W, C).
        row_by_digest: The row of each content, by digest.
        digests: The digest of each file.
    """

    def __init__(self, pixels: Pixels, row_by_digest: Mapping[str, int], digests: Mapping[Path, str]) -> None:
        self.pixels, self.row_by_digest, self.digests = pixels, row_by_digest, digests

    @classmethod
    def open(cls, folder: Path, digests: Mapping[Path, str]) -> Self | None:
        """Open the pixel cache of an earlier run.

        Args:
            folder: The cache directory.
            digests: The digest of each file that it must contain.

        Returns:
            The store, or None if the cache does not exist or is damaged.
        """
        try:
            row_by_digest = json.loads((folder / "rows.json").read_text(encoding="utf-8"))
            pixels = np.load(folder / "images.npy", mmap_mode="r")
        except (FileNotFoundError, EOFError, ValueError):
            return None
        if any(row_by_digest.get(digest, len(pixels)) >= len(pixels) for digest in digests.values()):
            return None
        with suppress(OSError):  # the directory can belong to another user
            # `cnn-classifier cache` shows the source and the last use.
            if not (folder / SOURCE_FILE).exists():
                source = f"{len(digests):,} images of {common_root({path.parent for path in digests})}"
                (folder / SOURCE_FILE).write_text(source, encoding="utf-8", errors="surrogateescape")
            os.utime(folder)
        return cls(pixels, row_by_digest, digests)

    def get_rows(self, paths: Sequence[Path]) -> Rows:
        return np.array([self.row_by_digest[self.digests[path]] for path in paths], np.int64)

    def iter_batches(self, rows: Iterable[Rows]) -> Iterator[Pixels]:
        return (self.pixels[batch_rows] for batch_rows in rows)


class StreamedImages:
    """Images that are decoded from the files on each access, for datasets that are too large for the cache.

    Args:
        paths: The image files; the index of a path is its row.
        preprocess: The preprocessing of each image.
    """

    def __init__(self, paths: Sequence[Path], preprocess: Preprocess) -> None:
        self.paths, self.load = list(paths), partial(reload_image, preprocess=preprocess)
        self.row_by_path = {path: row for row, path in enumerate(paths)}
        self.pool = ThreadPoolExecutor(NUM_DECODE_THREADS)

    def get_rows(self, paths: Sequence[Path]) -> Rows:
        return np.array([self.row_by_path[path] for path in paths], np.int64)

    def iter_batches(self, rows: Iterable[Rows]) -> Iterator[Pixels]:
        """Yield the pixels of each batch of rows; the next batches are decoded in the background."""
        pending: deque[list[Future[Pixels]]] = deque()
        for batch_rows in rows:
            pending.append([self.pool.submit(self.load, self.paths[row]) for row in batch_rows])
            if len(pending) > PREFETCH_BATCHES:
                yield np.stack([future.result() for future in pending.popleft()])
        for futures in pending:
            yield np.stack([future.result() for future in futures])


def reload_image(path: Path, *, preprocess: Preprocess) -> Pixels:
    """Return the preprocessed pixels of a file that was readable when it was checked.

    Raises:
        DataError: If the file can no longer be read.
    """
    try:
        return preprocess.load(path)
    except UnreadableImageError as error:
        raise DataError(
            f"Cannot read {path}: {error}. The file was readable when it was checked; restore it and start again."
        ) from error
