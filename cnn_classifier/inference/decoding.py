"""Decoding of images in batches, ahead of the network, in threads."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

from cnn_classifier.data.images.preprocess import ImageSource, Pixels, Preprocess
from cnn_classifier.data.parallel import NUM_DECODE_THREADS
from cnn_classifier.errors import UnreadableImageError

DecodeResult = tuple[Pixels | None, str | None]
# The number of batches that are decoded in advance; it bounds the memory.
PREFETCH_BATCHES = 3


def iter_decoded(
    sources: Iterable[ImageSource], preprocess: Preprocess, batch_size: int
) -> Iterator[tuple[list[ImageSource], list[DecodeResult]]]:
    """Yield batches of sources with their pixels (H, W, C), or the reason why a source cannot be read.

    Args:
        sources: The images. Iterators are consumed one batch at a time; sequences are decoded in advance.
        preprocess: The preprocessing.
        batch_size: The number of images per batch.
    """
    remaining = iter(sources)
    prefetch = PREFETCH_BATCHES if isinstance(sources, Sequence) else 0
    pending: deque[tuple[list[ImageSource], list[Future[DecodeResult]]]] = deque()
    with ThreadPoolExecutor(NUM_DECODE_THREADS) as pool:
        while True:
            while len(pending) <= prefetch and (chunk := list(islice(remaining, batch_size))):
                pending.append((chunk, [pool.submit(decode, source, preprocess) for source in chunk]))
            if not pending:
                return
            chunk, futures = pending.popleft()
            yield chunk, [future.result() for future in futures]


def decode(source: ImageSource, preprocess: Preprocess) -> DecodeResult:
    """Return the pixels of an image, or the reason why it cannot be read."""
    try:
        return preprocess.load(source), None
    except UnreadableImageError as error:
        return None, str(error)
