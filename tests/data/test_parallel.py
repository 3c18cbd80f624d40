"""Whether threads or processes do the work, it comes back in order, and so does what goes wrong."""

import operator
import os
import sys
import time

import pytest

from cnn_classifier.data import parallel
from cnn_classifier.data.parallel import parallel_map

# What is called must be known in other processes, so that these tests call what Python brings along.


@pytest.fixture(params=["threads", "processes"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Two items are already many, or a million still few."""
    monkeypatch.setattr(parallel, "WORTH_PROCESSES", 2 if request.param == "processes" else 1_000_000)
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


def test_progress_is_told_to_a_terminal_only(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    list(parallel_map(int, ["7"] * 3, "counting"))
    assert capfd.readouterr() == ("", "")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    list(parallel_map(int, ["7"] * 3, "counting"))
    assert "counting" in capfd.readouterr().err
