"""The final pixels of a set of images by row: packed, or decoded from the files each time."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from cnn_classifier.data.images.preprocess import Pixels, Preprocess
from cnn_classifier.data.parallel import NUM_DECODE_THREADS
from cnn_classifier.errors import DataError, UnreadableImageError

PREFETCH_BATCHES = 4
Rows = npt.NDArray[np.int64]


class ImageStore(Protocol):
    """Final pixels by row."""

    def get_rows(self, paths: Sequence[Path]) -> Rows:
        """The rows (N,) of these files."""
        ...

    def iter_batches(self, rows: Iterable[Rows]) -> Iterator[Pixels]:
        """Uint8 (B, H, W, C) for each of these sets of rows."""
        ...


class CachedImages:
    """All images decoded, in one memory-mapped file or in memory; a content that several files share is kept once."""

    def __init__(self, pixels: Pixels, row_by_digest: Mapping[str, int], digests: Mapping[Path, str]) -> None:
        self.pixels, self.row_by_digest, self.digests = pixels, row_by_digest, digests

    def get_rows(self, paths: Sequence[Path]) -> Rows:
        return np.array([self.row_by_digest[self.digests[path]] for path in paths], np.int64)

    def iter_batches(self, rows: Iterable[Rows]) -> Iterator[Pixels]:
        return (self.pixels[batch_rows] for batch_rows in rows)


class StreamedImages:
    """The same pixels, decoded from the files each time they are asked for: for data too large to pack."""

    def __init__(self, paths: Sequence[Path], preprocess: Preprocess) -> None:
        self.paths, self.load = list(paths), partial(reload_image, preprocess=preprocess)
        self.row_by_path = {path: row for row, path in enumerate(paths)}
        self.pool = ThreadPoolExecutor(NUM_DECODE_THREADS)

    def get_rows(self, paths: Sequence[Path]) -> Rows:
        return np.array([self.row_by_path[path] for path in paths], np.int64)

    def iter_batches(self, rows: Iterable[Rows]) -> Iterator[Pixels]:
        """The next batches are decoded while the first is in use."""
        pending: deque[list[Future[Pixels]]] = deque()
        for batch_rows in rows:
            pending.append([self.pool.submit(self.load, self.paths[row]) for row in batch_rows])
            if len(pending) > PREFETCH_BATCHES:
                yield np.stack([future.result() for future in pending.popleft()])
        for futures in pending:
            yield np.stack([future.result() for future in futures])


def reload_image(path: Path, *, preprocess: Preprocess) -> Pixels:
    """The final pixels of a file that could be read when it was checked.

    Raises:
        DataError: If it no longer can.
    """
    try:
        return preprocess.load(path)
    except UnreadableImageError as error:
        raise DataError(f"{path} could be read when it was checked, but not now: {error}; put it back") from error
