"""Runs side by side: their scores, what differs in their configurations, and whether a difference is real."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scipy.stats import binomtest

from cnn_classifier.report.intervals import wilson

SIGNIFICANT = 0.05
# What differs in every run, and says nothing.
OWN = (
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
    answers: Mapping[str, bool]
    config: Mapping[str, Any]

    def row(self) -> dict[str, Any]:
        """Its scores."""
        test, images = self.report["test"], len(self.answers)
        return {
            "run": self.name,
            "images": images,
            "accuracy": test["accuracy"],
            "interval": list(wilson(test["accuracy"], images)),
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
        "runs": [run.row() for run in runs],
        "differences": differences([run.config for run in runs]),
        "pairs": tested_pairs(runs),
    }


def differences(configs: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The values of every key that is not the same in all configurations; an evaluation has none."""
    known = [config for config in configs if config]
    keys = dict.fromkeys(key for config in known for key in config if key not in OWN)
    return {
        key: [config.get(key) for config in configs]
        for key in keys
        if any(config.get(key) != known[0].get(key) for config in known)
    }


def tested_pairs(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Every other run against the first, with p-values that allow for their number (Holm 1979)."""
    pairs = [paired(runs[0], run) for run in runs[1:]]
    for pair, p in zip(pairs, holm([pair.get("p") for pair in pairs]), strict=True):
        if p is not None:
            pair["p"] = p
        pair["says"] = sentence(pair)
    return pairs


def holm(values: Sequence[float | None]) -> list[float | None]:
    """P-values that allow for their number (Holm 1979), each in its place."""
    ranked = sorted((value, place) for place, value in enumerate(values) if value is not None)
    corrected: list[float | None] = [None] * len(values)
    least = 0.0
    for rank, (value, place) in enumerate(ranked):
        corrected[place] = least = min(1.0, max(least, value * (len(ranked) - rank)))
    return corrected


def read_answers(folder: Path) -> dict[str, bool]:
    """For each test image of a run, whether it was answered rightly.

    Raises:
        OSError: If `predictions.csv` cannot be read.
        KeyError: If it is not ours.
    """
    with (folder / "predictions.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return {row["path"]: row["label"] == row["predicted"] for row in csv.DictReader(file)}


def paired(first: Run, second: Run) -> dict[str, Any]:
    """The exact test of McNemar (1947) on the images that both were tested on.

    Only images that one run got right and the other wrong tell them apart. Were the runs equally good, each of these
    would fall to either with probability one half.
    """
    common = first.answers.keys() & second.answers.keys()
    pair = {"first": first.name, "second": second.name, "images": len(common)}
    if not common:
        return pair
    pair["all"] = len(common) == len(first.answers) == len(second.answers)
    only_first = sum(first.answers[path] and not second.answers[path] for path in common)
    only_second = sum(second.answers[path] and not first.answers[path] for path in common)
    apart = only_first + only_second
    p = float(binomtest(only_first, apart).pvalue) if apart else 1.0
    return pair | {"only_first_right": only_first, "only_second_right": only_second, "p": p}


def sentence(pair: Mapping[str, Any]) -> str:
    """What a pair comes to, in words."""
    first, second, images = pair["first"], pair["second"], pair["images"]
    if not images:
        return f"{second} and {first} were tested on different images, so that they cannot be compared image by image."
    where = f"the {images:,} test images" if pair["all"] else f"the {images:,} images that both were tested on"
    fewer, more = sorted((pair["only_first_right"], pair["only_second_right"]))
    if not more:
        return f"{second} and {first} are right on the same of {where}."
    if fewer == more:
        return f"{second} and {first} are right on as many of {where}: each on {more:,} that the other gets wrong."
    better, worse = (second, first) if pair["only_second_right"] > pair["only_first_right"] else (first, second)
    real = pair["p"] < SIGNIFICANT
    ahead, verdict = ("is better than", "is real") if real else ("is ahead of", "may be chance")
    chance = "p < 0.0001" if pair["p"] < 0.0001 else f"p = {pair['p']:.2g}"
    return (
        f"{better} {ahead} {worse} on {where}: right on {more:,} that the other gets wrong, "
        f"wrong on {fewer:,} that it gets right; the difference {verdict} ({chance})."
    )
