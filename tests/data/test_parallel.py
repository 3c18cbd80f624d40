"""Whether threads or processes do the work, it comes back in order, and so does what goes wrong."""

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

# What is called must be known in other processes, so that these tests call what Python brings along.


@pytest.fixture(params=["threads", "processes"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Two items are already many, or a million still few."""
    monkeypatch.setattr(parallel, "MIN_ITEMS_FOR_PROCESSES", 2 if request.param == "processes" else 1_000_000)
    return request.param


def test_results_come_in_the_order_of_the_items_whichever_is_ready_first(way: str) -> None:
    waits = [0.02, *[0.0] * 600]
    slept = parallel_map(time.sleep, waits, "sleeping")
    assert list(slept) == [(wait, None) for wait in waits]
    words = [str(number) for number in range(600)]
    assert list(parallel_map(int, words, "counting")) == list(zip(words, range(600), strict=True))


def test_few_items_stay_in_this_process_and_many_do_not(way: str) -> None:
    workers = {pid for _, pid in parallel_map(operator.call, [os.getpid] * 40, "asking")}
    assert (os.getpid() in workers) == (way == "threads")


def test_no_items_give_no_results() -> None:
    assert list(parallel_map(int, [], "counting")) == []


def test_what_is_raised_comes_through(way: str) -> None:
    with pytest.raises(ValueError, match=r"invalid literal for int\(\) with base 10: 'seven'"):
        list(parallel_map(int, [*["7"] * 100, "seven"], "counting"))


def test_whoever_stops_asking_may_go_on_with_something_else(way: str) -> None:
    results = parallel_map(int, ["7"] * 1000, "counting")
    assert next(results) == ("7", 7)
    results.close()
    assert len(list(parallel_map(int, ["7"] * 100, "counting again"))) == 100


def test_no_more_is_done_ahead_than_a_few_chunks_a_core(way: str, tmp_path: Path) -> None:
    most = max(PREFETCH_CHUNKS * NUM_CORES, 8) * CHUNK_SIZE
    paths = [tmp_path / str(number) for number in range(3 * most)]
    touched = parallel_map(Path.touch, paths, "touching")
    for taken in range(1, len(paths) + 1):
        next(touched)
        if taken % CHUNK_SIZE == 1:
            time.sleep(0.05 if taken == 1 else 0)  # whoever asks slowly gives them time to run away
            assert len(list(tmp_path.iterdir())) < taken + most


def test_a_process_that_dies_is_one_line_that_says_where_and_the_next_call_has_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parallel, "MIN_ITEMS_FOR_PROCESSES", 2)
    calls = [partial(os._exit if number == 500 else int, number) for number in range(1000)]
    with pytest.raises(
        DataError, match=r"^A worker process died at one of the \d+ images from .*, because of an image that"
    ):
        list(parallel_map(operator.call, calls, "checking"))
    assert len(list(parallel_map(int, ["7"] * 100, "counting"))) == 100


def test_progress_is_told_to_a_terminal_only(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    list(parallel_map(int, ["7"] * 3, "counting"))
    assert capfd.readouterr() == ("", "")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    list(parallel_map(int, ["7"] * 3, "counting"))
    assert "counting" in capfd.readouterr().err
