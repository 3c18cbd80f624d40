"""Runs side by side: their scores, what differs in their configurations, and whether a difference is real."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scipy.stats import binomtest

from cnn_classifier.report.metrics.intervals import wilson_interval

SIGNIFICANCE_LEVEL = 0.05
# What differs in every run, and says nothing.
IGNORED_KEYS = (
    "run_dir",
    "resume",
    "sweep.resume",
    "sweep.name",
    "trainer.default_root_dir",
    "callbacks.best.dirpath",
    "callbacks.last.dirpath",
)


@dataclass(frozen=True)
class Run:
    """A finished run, or an evaluation.

    Args:
        name: As it was given.
        report: The content of `report.json`.
        answers: For each test image, whether it was answered rightly.
        config: The configuration, `{"optimizer.lr": 0.1}`; empty for an evaluation.
    """

    name: str
    report: Mapping[str, Any]
    correct: Mapping[str, bool]
    config: Mapping[str, Any]

    def to_row(self) -> dict[str, Any]:
        """Its scores."""
        test, num_images = self.report["test"], len(self.correct)
        return {
            "run": self.name,
            "images": num_images,
            "accuracy": test["accuracy"],
            "interval": list(wilson_interval(test["accuracy"], num_images)),
            "f1_macro": test["f1_macro"],
            "loss": test["loss"],
            "seconds": self.report.get("timing", {}).get("total_seconds"),
        }


def compare(runs: Sequence[Run]) -> dict[str, Any]:
    """All that can be said of two runs and more, as plain data.

    Returns:
        `runs`: a row each. `differences`: the keys of the configurations that differ, with a value for each run (None
        where a run has none). `pairs`: each run against the first, the one that the others are compared with.
    """
    return {
        "runs": [run.to_row() for run in runs],
        "differences": diff_configs([run.config for run in runs]),
        "pairs": compare_pairs(runs),
    }


def diff_configs(configs: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The values of every key that is not the same in all configurations; an evaluation has none."""
    nonempty = [config for config in configs if config]
    keys = dict.fromkeys(key for config in nonempty for key in config if key not in IGNORED_KEYS)
    return {
        key: [config.get(key) for config in configs]
        for key in keys
        if any(config.get(key) != nonempty[0].get(key) for config in nonempty)
    }


def compare_pairs(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Every other run against the first, with p-values that allow for their number (Holm 1979)."""
    pairs = [mcnemar(runs[0], run) for run in runs[1:]]
    for pair, p in zip(pairs, holm_correction([pair.get("p") for pair in pairs]), strict=True):
        if p is not None:
            pair["p"] = p
        pair["says"] = describe_pair(pair)
    return pairs


def holm_correction(p_values: Sequence[float | None]) -> list[float | None]:
    """P-values that allow for their number (Holm 1979), each in its place."""
    sorted_values = sorted((value, index) for index, value in enumerate(p_values) if value is not None)
    corrected: list[float | None] = [None] * len(p_values)
    running_max = 0.0
    for rank, (value, index) in enumerate(sorted_values):
        corrected[index] = running_max = min(1.0, max(running_max, value * (len(sorted_values) - rank)))
    return corrected


def read_correctness(folder: Path) -> dict[str, bool]:
    """For each test image of a run, whether it was answered rightly.

    Raises:
        OSError: If `predictions.csv` cannot be read.
        KeyError: If it is not ours.
    """
    with (folder / "predictions.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return {row["path"]: row["label"] == row["predicted"] for row in csv.DictReader(file)}


def mcnemar(first: Run, second: Run) -> dict[str, Any]:
    """The exact test of McNemar (1947) on the images that both were tested on.

    Only images that one run got right and the other wrong tell them apart. Were the runs equally good, each of these
    would fall to either with probability one half.
    """
    common_paths = first.correct.keys() & second.correct.keys()
    pair = {"first": first.name, "second": second.name, "images": len(common_paths)}
    if not common_paths:
        return pair
    pair["all"] = len(common_paths) == len(first.correct) == len(second.correct)
    only_first = sum(first.correct[path] and not second.correct[path] for path in common_paths)
    only_second = sum(second.correct[path] and not first.correct[path] for path in common_paths)
    num_discordant = only_first + only_second
    p = float(binomtest(only_first, num_discordant).pvalue) if num_discordant else 1.0
    return pair | {"only_first_right": only_first, "only_second_right": only_second, "p": p}


def describe_pair(pair: Mapping[str, Any]) -> str:
    """What a pair comes to, in words."""
    first, second, num_images = pair["first"], pair["second"], pair["images"]
    if not num_images:
        return f"{second} and {first} were tested on different images, so that they cannot be compared image by image."
    test_set = (
        f"the {num_images:,} test images" if pair["all"] else f"the {num_images:,} images that both were tested on"
    )
    fewer, more = sorted((pair["only_first_right"], pair["only_second_right"]))
    if not more:
        return f"{second} and {first} are right on the same of {test_set}."
    if fewer == more:
        return f"{second} and {first} are right on as many of {test_set}: each on {more:,} that the other gets wrong."
    better, worse = (second, first) if pair["only_second_right"] > pair["only_first_right"] else (first, second)
    is_significant = pair["p"] < SIGNIFICANCE_LEVEL
    relation, verdict = ("is better than", "is real") if is_significant else ("is ahead of", "may be chance")
    p_text = "p < 0.0001" if pair["p"] < 0.0001 else f"p = {pair['p']:.2g}"
    return (
        f"{better} {relation} {worse} on {test_set}: right on {more:,} that the other gets wrong, "
        f"wrong on {fewer:,} that it gets right; the difference {verdict} ({p_text})."
    )
