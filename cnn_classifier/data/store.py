"""The final pixels of a set of images by row: packed, or decoded from the files each time."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from cnn_classifier.data.parallel import DECODE_THREADS
from cnn_classifier.data.preprocess import Pixels, Preprocess
from cnn_classifier.errors import DataError, UnreadableImageError

BATCHES_AHEAD = 4
Rows = npt.NDArray[np.int64]


class ImageStore(Protocol):
    """Final pixels by row."""

    def rows(self, paths: Sequence[Path]) -> Rows:
        """The rows (N,) of these files."""
        ...

    def batches(self, rows: Iterable[Rows]) -> Iterator[Pixels]:
        """Uint8 (B, H, W, C) for each of these sets of rows."""
        ...


class PackedImages:
    """All images decoded, in one memory-mapped file or in memory; a content that several files share is kept once."""

    def __init__(self, pixels: Pixels, row_of: Mapping[str, int], digests: Mapping[Path, str]) -> None:
        self.pixels, self.row_of, self.digests = pixels, row_of, digests

    def rows(self, paths: Sequence[Path]) -> Rows:
        return np.array([self.row_of[self.digests[path]] for path in paths], np.int64)

    def batches(self, rows: Iterable[Rows]) -> Iterator[Pixels]:
        return (self.pixels[chosen] for chosen in rows)


class StreamedImages:
    """The same pixels, decoded from the files each time they are asked for: for data too large to pack."""

    def __init__(self, paths: Sequence[Path], preprocess: Preprocess) -> None:
        self.paths, self.load = list(paths), partial(load_again, preprocess=preprocess)
        self.row_of = {path: row for row, path in enumerate(paths)}
        self.pool = ThreadPoolExecutor(DECODE_THREADS)

    def rows(self, paths: Sequence[Path]) -> Rows:
        return np.array([self.row_of[path] for path in paths], np.int64)

    def batches(self, rows: Iterable[Rows]) -> Iterator[Pixels]:
        """The next batches are decoded while the first is in use."""
        ahead: deque[list[Future[Pixels]]] = deque()
        for chosen in rows:
            ahead.append([self.pool.submit(self.load, self.paths[row]) for row in chosen])
            if len(ahead) > BATCHES_AHEAD:
                yield np.stack([future.result() for future in ahead.popleft()])
        for futures in ahead:
            yield np.stack([future.result() for future in futures])


def load_again(path: Path, *, preprocess: Preprocess) -> Pixels:
    """The final pixels of a file that could be read when it was checked.

    Raises:
        DataError: If it no longer can.
    """
    try:
        return preprocess.load(path)
    except UnreadableImageError as error:
        raise DataError(f"{path} could be read when it was checked, but not now: {error}; put it back") from error
