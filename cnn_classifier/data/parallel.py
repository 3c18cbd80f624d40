"""Do the same to many files, on every core, in order and with progress."""

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
Result = TypeVar("Result")

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
# Pillow decodes large images without the interpreter lock, so that a few threads help.
DECODE_THREADS = min(8, 2 * CORES)
CHUNK = 32
# Below this, starting processes costs more than they save: measured 0.5 s against 0.5 ms an image.
WORTH_PROCESSES = 1000


def parallel_map(
    function: Callable[[Item], Result], items: Sequence[Item], description: str
) -> Iterator[tuple[Item, Result]]:
    """Each item with `function(item)`, in the order of the items.

    Few items go to threads; many to processes, since Pillow holds the interpreter lock for much of a small image
    (32 px JPEGs: 1,800 a second with 2 threads, 4,100 with 2 processes). joblib's processes do not import the
    caller's script again, so no script needs a guard.

    Args:
        function: Must be picklable, and so must its results.
        items: What it is called with.
        description: What the progress bar says.
    """
    with tqdm(total=len(items), desc=description, disable=None, leave=False) as progress:
        results = in_processes(function, items) if len(items) >= WORTH_PROCESSES else in_threads(function, items)
        for item, result in zip(items, results, strict=True):
            yield item, result
            progress.update()


def in_threads(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """In chunks, so that results do not pile up before they are asked for."""
    with ThreadPoolExecutor(DECODE_THREADS) as pool:
        for chunk in chunks(items, 8 * CHUNK):
            yield from pool.map(function, chunk)


def in_processes(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    from joblib import Parallel, delayed  # 0.3 s, only where they are saved again

    workers = Parallel(n_jobs=CORES, return_as="generator")
    done = workers(delayed(apply)(function, chunk) for chunk in chunks(items, CHUNK))
    try:
        for results in done:
            yield from results
    finally:
        with warnings.catch_warnings(action="ignore"):  # joblib remarks on what is left undone when a run ends early
            done.close()


def apply(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    return [function(item) for item in items]


def chunks(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    return (items[start : start + size] for start in range(0, len(items), size))
