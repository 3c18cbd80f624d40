"""Ordered parallel map over many items, with bounded prefetch and a progress bar."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from cnn_classifier.errors import DataError
from cnn_classifier.progress import progress_bar

Item = TypeVar("Item")
Result = TypeVar("Result")

NUM_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
# Pillow releases the interpreter lock while it decodes large images, so a few threads help.
NUM_DECODE_THREADS = min(8, 2 * NUM_CORES)
CHUNK_SIZE = 32
# With fewer items, starting the processes costs more than they save: measured 0.5 s against 0.5 ms per image.
MIN_ITEMS_FOR_PROCESSES = 1000
# Number of queued or running chunks per core: enough to keep it busy, and the limit of the results held in memory.
PREFETCH_CHUNKS = 4
# The largest fraction of the training images that an epoch may drop, see `training_slices`.
MAX_DROPPED_FRACTION = 0.01
IDLE_TIMEOUT = 300.0  # seconds after which idle processes end; until then the next call reuses them


def parallel_map(
    function: Callable[[Item], Result], items: Sequence[Item], description: str
) -> Iterator[tuple[Item, Result]]:
    """Yield each item with `function(item)`, in the order of the items.

    Few items are processed in threads, many in processes, since Pillow holds the interpreter lock for much of a small
    image (32 px JPEGs: 1,800 per second with 2 threads, 4,100 with 2 processes). loky's processes do not import the
    caller's script again, so scripts need no `__main__` guard.

    Args:
        function: The function to call; it must be picklable, and so must its results.
        items: The arguments of the calls.
        description: The label of the progress bar.

    Raises:
        DataError: If a process dies.
    """
    with progress_bar(description=description, total=len(items)) as progress:
        results = (
            map_in_processes(function, items)
            if len(items) >= MIN_ITEMS_FOR_PROCESSES
            else map_in_threads(function, items)
        )
        for item, result in zip(items, results, strict=True):
            yield item, result
            progress.update()


def map_in_threads(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """Yield the results of threads chunk by chunk, so that unused results do not accumulate."""
    with ThreadPoolExecutor(NUM_DECODE_THREADS) as pool:
        for chunk in batch_slices(len(items), 8 * CHUNK_SIZE):
            yield from pool.map(function, items[chunk])


def map_in_processes(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """Yield the results of processes with a bounded number of chunks in flight, unlike `joblib.Parallel`.

    Raises:
        DataError: If a process dies.
    """
    from joblib.externals.loky import get_reusable_executor  # the import takes 0.3 s

    pool = get_reusable_executor(NUM_CORES, timeout=IDLE_TIMEOUT)
    pending: deque[tuple[Sequence[Item], Future[list[Result]]]] = deque()
    remaining = (items[chunk] for chunk in batch_slices(len(items), CHUNK_SIZE))
    try:
        while True:
            while len(pending) < PREFETCH_CHUNKS * NUM_CORES and (chunk := next(remaining, None)) is not None:
                pending.append((chunk, pool.submit(map_chunk, function, chunk)))
            if not pending:
                return
            yield from pending[0][1].result()
            pending.popleft()
    except BrokenProcessPool as error:
        unfinished = [item for chunk, future in pending if future.exception() for item in chunk]
        suspects = unfinished[: NUM_CORES * CHUNK_SIZE] or items  # processes start chunks in this order
        raise DataError(
            f"A worker process died at one of the {len(suspects)} images from {suspects[0]} to {suspects[-1]}, because "
            "of an image that crashes its decoder or too little memory. Free memory, or remove half of these images, "
            "repeatedly, to find the image."
        ) from error
    finally:
        for _, future in pending:
            future.cancel()


def map_chunk(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Return the results for one chunk; called in a worker process."""
    return [function(item) for item in items]


def batch_slices(length: int, size: int) -> Iterator[slice]:
    """Return the slices that divide a sequence into batches; the last batch can be smaller.

    Args:
        length: The length of the sequence.
        size: The number of items per batch.
    """
    return (slice(start, min(start + size, length)) for start in range(0, length, size))


def training_slices(length: int, size: int, world_size: int = 1) -> list[slice]:
    """Return the slices that divide a training epoch into batches of all processes together.

    A remainder below `MAX_DROPPED_FRACTION` is dropped, so that all batches have one size; the next epoch drops other
    images, since its order differs. A larger remainder is spread: 28 images with a batch size of 16 give two batches
    of 14. Spread batches differ by at most one image and have at least two per process, as batch normalization requires
    (which can exceed the batch size by one image).

    Args:
        length: The number of images of an epoch.
        size: The number of images per batch and process.
        world_size: The number of processes.
    """
    batch_size = size * world_size
    if length % batch_size < MAX_DROPPED_FRACTION * length:
        return list(batch_slices(length - length % batch_size, batch_size))
    count = -(-length // batch_size)
    if size > 1:
        count = max(1, min(count, length // (2 * world_size)))
    return [slice(index * length // count, (index + 1) * length // count) for index in range(count)]
