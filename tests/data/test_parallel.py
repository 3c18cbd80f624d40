"""Tests of the parallel map with threads and with processes."""

import operator
import os
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from cnn_classifier.data import parallel
from cnn_classifier.data.parallel import CHUNK_SIZE, NUM_CORES, PREFETCH_CHUNKS, parallel_map
from cnn_classifier.errors import DataError

# The functions must be importable in other processes, so these tests use functions of the standard library.


@pytest.fixture(params=["threads", "processes"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Use threads or processes, whatever the number of items."""
    monkeypatch.setattr(parallel, "MIN_ITEMS_FOR_PROCESSES", 2 if request.param == "processes" else 1_000_000)
    return request.param


def test_results_are_in_the_order_of_the_items(backend: str) -> None:
    delays = [0.02, *[0.0] * 600]
    slept = parallel_map(time.sleep, delays, "sleeping")
    assert list(slept) == [(wait, None) for wait in delays]
    numbers = [str(number) for number in range(600)]
    assert list(parallel_map(int, numbers, "counting")) == list(zip(numbers, range(600), strict=True))


def test_few_items_use_threads_and_many_use_processes(backend: str) -> None:
    workers = {pid for _, pid in parallel_map(operator.call, [os.getpid] * 40, "asking")}
    assert (os.getpid() in workers) == (backend == "threads")


def test_no_items_give_no_results() -> None:
    assert list(parallel_map(int, [], "counting")) == []


def test_exception_of_the_function_is_raised(backend: str) -> None:
    with pytest.raises(ValueError, match=r"invalid literal for int\(\) with base 10: 'seven'"):
        list(parallel_map(int, [*["7"] * 100, "seven"], "counting"))


def test_closed_iterator_does_not_block_the_next_call(backend: str) -> None:
    results = parallel_map(int, ["7"] * 1000, "counting")
    assert next(results) == ("7", 7)
    results.close()
    assert len(list(parallel_map(int, ["7"] * 100, "counting again"))) == 100


def test_prefetch_is_bounded(backend: str, tmp_path: Path) -> None:
    limit = max(PREFETCH_CHUNKS * NUM_CORES, 8) * CHUNK_SIZE
    paths = [tmp_path / str(number) for number in range(3 * limit)]
    touched = parallel_map(Path.touch, paths, "touching")
    for num_results in range(1, len(paths) + 1):
        next(touched)
        if num_results % CHUNK_SIZE == 1:
            time.sleep(0.05 if num_results == 1 else 0)  # give the workers time to run ahead
            assert len(list(tmp_path.iterdir())) < num_results + limit


def test_dead_worker_process_raises_data_error_and_the_next_call_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parallel, "MIN_ITEMS_FOR_PROCESSES", 2)
    calls = [partial(os._exit if number == 500 else int, number) for number in range(1000)]
    with pytest.raises(
        DataError, match=r"^A worker process died at one of the \d+ images from .*, because of an image that"
    ):
        list(parallel_map(operator.call, calls, "checking"))
    assert len(list(parallel_map(int, ["7"] * 100, "counting"))) == 100


def test_progress_is_printed_on_a_terminal_only(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    list(parallel_map(int, ["7"] * 3, "counting"))
    assert capfd.readouterr() == ("", "")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    list(parallel_map(int, ["7"] * 3, "counting"))
    assert "counting" in capfd.readouterr().err
