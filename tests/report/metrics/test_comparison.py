"""McNemar tests, Holm correction and configuration differences."""

from dataclasses import replace

import pytest

from cnn_classifier.report.metrics.comparison import Run, compare, describe_pair, diff_configs, mcnemar


def make_run(name: str, marks: str, *, config: dict[str, object] | None = None, prefix: str = "") -> Run:
    """Return a run with correct (`+`) and incorrect (`-`) predictions."""
    correct = {f"{prefix}{index}.png": mark == "+" for index, mark in enumerate(marks)}
    accuracy = marks.count("+") / len(marks)
    return Run(name, {"test": {"accuracy": accuracy, "f1_macro": accuracy, "loss": 0.5}}, correct, config or {})


def test_mcnemar_uses_discordant_images() -> None:
    first, second = make_run("a", "+" * 50 + "-" * 10 + "+" * 2), make_run("b", "+" * 60 + "-" * 2)
    pair = mcnemar(first, second)
    assert (pair["only_first_correct"], pair["only_second_correct"]) == (2, 10)
    assert pair["p"] == pytest.approx(2 * (1 + 12 + 66) / 2**12)  # at most 2 or at least 10 heads in 12 coin flips
    assert describe_pair(pair) == (
        "b has a higher accuracy than a on the 62 test images (10 correct only with b, 2 only with a). "
        "The difference is significant (p = 0.039)."
    )


def test_summary_of_insignificant_and_equal_runs() -> None:
    (summary,) = (pair["summary"] for pair in compare([make_run("a", "+++-"), make_run("b", "++++")])["pairs"])
    assert summary.startswith("b has a higher accuracy than a")
    assert summary.endswith("The difference is not significant (p = 1).")
    (summary,) = (pair["summary"] for pair in compare([make_run("a", "++--"), make_run("b", "++--")])["pairs"])
    assert summary == "Of the 4 test images, b and a classify exactly the same ones correctly."
    (summary,) = (pair["summary"] for pair in compare([make_run("a", "+-"), make_run("b", "-+")])["pairs"])
    assert (
        summary
        == "b and a have the same accuracy on the 2 test images: each is correct on 1 that the other gets wrong."
    )


def test_runs_on_different_images_are_compared_on_common_images_only() -> None:
    (pair,) = compare([make_run("a", "++-"), make_run("b", "+--", prefix="other/")])["pairs"]
    assert "p" not in pair
    assert pair["summary"] == "b and a were tested on different images and cannot be compared image by image."
    (pair,) = compare([make_run("a", "++-"), make_run("b", "+--+")])["pairs"]
    assert pair["images"] == 3
    assert "on the 3 common test images" in pair["summary"]


def test_p_values_of_several_runs_are_holm_corrected() -> None:
    first = make_run("a", "-" * 8 + "+" * 20)
    all_correct = "+" * 28
    (single_pair,) = compare([first, make_run("b", all_correct)])["pairs"]
    pairs = compare([first, make_run("b", all_correct), make_run("c", all_correct), make_run("d", "-" * 8 + "+" * 20)])[
        "pairs"
    ]
    assert single_pair["p"] == pytest.approx(2 / 2**8)
    assert [pair["p"] for pair in pairs] == pytest.approx([3 * 2 / 2**8, 3 * 2 / 2**8, 1.0])


def test_differing_keys_are_listed_except_ignored_keys() -> None:
    configs = [
        {"optimizer.lr": 0.1, "seed": 1, "run_dir": "a"},
        {"optimizer.lr": 0.2, "seed": 1, "run_dir": "b", "model.stem_channels": 24},
        {},  # an evaluation
    ]
    differences = {"optimizer.lr": [0.1, 0.2, None], "model.stem_channels": [None, 24, None]}
    assert diff_configs(configs, keep_partial=True) == differences
    assert diff_configs(configs, keep_partial=False) == {"optimizer.lr": [0.1, 0.2, None]}


def test_overrides_that_differ_are_separate_from_their_consequences() -> None:
    first = replace(
        make_run("a", "+"),
        overrides=["model=cnn", "seed=1", "optimizer.lr=1e-1", "+augment.blur.p=0.5"],
        config={"seed": 1, "optimizer.lr": 0.1, "model.widths": [8], "dataset.batch_size": 32, "augment.blur.p": 0.5},
    )
    second = replace(
        make_run("b", "+"),
        overrides=["optimizer.lr=0.1", "run_dir=b", "seed=2"],
        config={"seed": 2, "optimizer.lr": 0.1, "model.depth": 3, "dataset.batch_size": 64, "run_dir": "b"},
    )

    comparison = compare([first, second, make_run("evaluation", "+")])

    assert comparison["overrides"] == {
        "model": ["cnn", "default", None],
        "seed": [1, 2, None],
        "augment.blur.p": [0.5, "default", None],
    }
    assert comparison["differences"] == {"dataset.batch_size": [32, 64, None]}


def test_rows_contain_metrics_with_interval() -> None:
    row = compare([make_run("a", "+" * 90 + "-" * 10), make_run("b", "+" * 100)])["runs"][0]
    assert (row["run"], row["images"], row["accuracy"], row["seconds"]) == ("a", 100, 0.9, None)
    assert row["interval"] == pytest.approx([0.8256, 0.9448], abs=1e-4)
