"""Whether one run is better than another is said in words that the numbers bear out."""

import pytest

from cnn_classifier.report.metrics.comparison import Run, compare, describe_pair, diff_configs, mcnemar


def run(name: str, right: str, *, config: dict[str, object] | None = None, prefix: str = "") -> Run:
    """A run whose images were answered rightly (`+`) or wrongly (`-`)."""
    answers = {f"{prefix}{index}.png": mark == "+" for index, mark in enumerate(right)}
    accuracy = right.count("+") / len(right)
    return Run(name, {"test": {"accuracy": accuracy, "f1_macro": accuracy, "loss": 0.5}}, answers, config or {})


def test_the_exact_test_counts_the_images_that_tell_the_runs_apart() -> None:
    first, second = run("a", "+" * 50 + "-" * 10 + "+" * 2), run("b", "+" * 60 + "-" * 2)
    pair = mcnemar(first, second)
    assert (pair["only_first_right"], pair["only_second_right"]) == (2, 10)
    assert pair["p"] == pytest.approx(2 * (1 + 12 + 66) / 2**12)  # 0, 1 or 2 of 12 throws of a coin, or 10, 11, 12
    assert describe_pair(pair) == (
        "b is better than a on the 62 test images: right on 10 that the other gets wrong, wrong on 2 that it gets "
        "right; the difference is real (p = 0.039)."
    )


def test_a_small_difference_may_be_chance_and_none_is_said_to_be_none() -> None:
    (said,) = (pair["says"] for pair in compare([run("a", "+++-"), run("b", "++++")])["pairs"])
    assert said.startswith("b is ahead of a")
    assert said.endswith("the difference may be chance (p = 1).")
    (said,) = (pair["says"] for pair in compare([run("a", "++--"), run("b", "++--")])["pairs"])
    assert said == "b and a are right on the same of the 4 test images."
    (said,) = (pair["says"] for pair in compare([run("a", "+-"), run("b", "-+")])["pairs"])
    assert said == "b and a are right on as many of the 2 test images: each on 1 that the other gets wrong."


def test_runs_on_other_images_are_told_so_and_not_tested() -> None:
    (pair,) = compare([run("a", "++-"), run("b", "+--", prefix="other/")])["pairs"]
    assert "p" not in pair
    assert pair["says"] == "b and a were tested on different images, so that they cannot be compared image by image."
    (pair,) = compare([run("a", "++-"), run("b", "+--+")])["pairs"]
    assert pair["images"] == 3
    assert "on the 3 images that both were tested on" in pair["says"]


def test_several_runs_are_held_to_more() -> None:
    first = run("a", "-" * 8 + "+" * 20)
    better = "+" * 28
    (alone,) = compare([first, run("b", better)])["pairs"]
    beside = compare([first, run("b", better), run("c", better), run("d", "-" * 8 + "+" * 20)])["pairs"]
    assert alone["p"] == pytest.approx(2 / 2**8)
    assert [pair["p"] for pair in beside] == pytest.approx([3 * 2 / 2**8, 3 * 2 / 2**8, 1.0])


def test_what_differs_is_listed_but_for_what_differs_always() -> None:
    configs = [
        {"optimizer.lr": 0.1, "seed": 1, "run_dir": "a"},
        {"optimizer.lr": 0.2, "seed": 1, "run_dir": "b", "model.stem_channels": 24},
        {},  # an evaluation
    ]
    assert diff_configs(configs) == {"optimizer.lr": [0.1, 0.2, None], "model.stem_channels": [None, 24, None]}


def test_rows_hold_the_scores_with_their_interval() -> None:
    row = compare([run("a", "+" * 90 + "-" * 10), run("b", "+" * 100)])["runs"][0]
    assert (row["run"], row["images"], row["accuracy"], row["seconds"]) == ("a", 100, 0.9, None)
    assert row["interval"] == pytest.approx([0.8256, 0.9448], abs=1e-4)
