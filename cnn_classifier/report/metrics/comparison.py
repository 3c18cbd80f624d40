"""Comparison of runs: metrics, configuration differences and McNemar tests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scipy.stats import binomtest

from cnn_classifier.report.metrics.intervals import wilson_interval
from cnn_classifier.report.metrics.predictions import read_predictions

SIGNIFICANCE_LEVEL = 0.05
DEFAULT_LABEL = "default"  # the value of an option that only other runs override
# Keys that are ignored when configurations are compared, since they differ in every run.
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
        name: The name that the tables show.
        report: The content of `report.json`.
        correct: For each test image, whether its prediction is correct.
        config: The flattened configuration, such as `{"optimizer.lr": 0.1}`; empty for an evaluation.
        overrides: The overrides of its command, such as `optimizer.lr=0.1`.
    """

    name: str
    report: Mapping[str, Any]
    correct: Mapping[str, bool]
    config: Mapping[str, Any]
    overrides: Sequence[str] = ()

    @property
    def split(self) -> str | None:
        """The split that the run was measured on, see `Evaluation`; None if on none."""
        return self.report.get("evaluated", "test")

    def to_row(self) -> dict[str, Any]:
        """Return the metrics of the run as a table row; they are None if it was measured on no images."""
        scores, num_images = self.report[self.split] if self.split else {}, len(self.correct)
        return {
            "run": self.name,
            "split": self.split,
            "images": num_images,
            "accuracy": scores.get("accuracy"),
            "interval": list(wilson_interval(scores["accuracy"], num_images)) if scores else None,
            "f1_macro": scores.get("f1_macro"),
            "loss": scores.get("loss"),
            "seconds": self.report.get("timing", {}).get("total_seconds"),
        }


def compare(runs: Sequence[Run]) -> dict[str, Any]:
    """Compare two or more runs.

    Args:
        runs: The runs; the first is the reference.

    Returns:
        `runs`: the metrics of each run. `overrides`: the overridden keys whose values differ, with one value per run.
        `differences`: the other keys of the configuration that differ, likewise; None if the run does not have the key.
        `pairs`: the test of each other run against the first.
    """
    overrides = diff_overrides(runs)
    differences = diff_configs([run.config for run in runs], keep_partial=not any(run.overrides for run in runs))
    return {
        "runs": [run.to_row() for run in runs],
        "overrides": overrides,
        "differences": {key: values for key, values in differences.items() if key not in overrides},
        "pairs": compare_pairs(runs),
    }


def diff_overrides(runs: Sequence[Run]) -> dict[str, list[Any]]:
    """Return the keys that the command of a run overrides and whose value differs, with the value in each run."""
    overrides = [parse_overrides(run.overrides) for run in runs]
    rows = {
        key: [get_value(run, given, key) for run, given in zip(runs, overrides, strict=True)]
        for key in dict.fromkeys(key for given in overrides for key in given if key not in IGNORED_KEYS)
    }
    return {
        key: values
        for key, values in rows.items()
        if any(value != values[0] for value, run in zip(values, runs, strict=True) if run.config)
    }


def parse_overrides(overrides: Sequence[str]) -> dict[str, str]:
    """Parse overrides such as `optimizer.lr=0.1` into a dict."""
    return {key.lstrip("+"): value for key, _, value in (override.partition("=") for override in overrides)}


def get_value(run: Run, overrides: Mapping[str, str], key: str) -> Any:
    """Return the value of a key in the configuration, or the option of a config group; None for an evaluation."""
    if key in run.config:
        return run.config[key]
    return overrides.get(key, DEFAULT_LABEL) if run.config else None


def diff_configs(configs: Sequence[Mapping[str, Any]], *, keep_partial: bool) -> dict[str, list[Any]]:
    """Return the keys that differ with their value in each configuration; empty configurations are not compared.

    Args:
        configs: The flattened configurations.
        keep_partial: Whether to keep keys that only some configurations have, such as the defaults of another version
            or the arguments of another model.
    """
    nonempty = [config for config in configs if config]
    keys = dict.fromkeys(key for config in nonempty for key in config if key not in IGNORED_KEYS)
    return {
        key: [config.get(key) for config in configs]
        for key in keys
        if (keep_partial or all(key in config for config in nonempty))
        and any(config.get(key) != nonempty[0].get(key) for config in nonempty)
    }


def compare_pairs(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Test every other run against the first, with Holm-corrected p-values (Holm 1979)."""
    pairs = [mcnemar(runs[0], run) for run in runs[1:]]
    for pair, p in zip(pairs, holm_correction([pair.get("p") for pair in pairs]), strict=True):
        if p is not None:
            pair["p"] = p
        pair["summary"] = describe_pair(pair)
    return pairs


def holm_correction(p_values: Sequence[float | None]) -> list[float | None]:
    """Return the p-values corrected for multiple comparisons (Holm 1979), in the given order."""
    sorted_values = sorted((value, index) for index, value in enumerate(p_values) if value is not None)
    corrected: list[float | None] = [None] * len(p_values)
    running_max = 0.0
    for rank, (value, index) in enumerate(sorted_values):
        corrected[index] = running_max = min(1.0, max(running_max, value * (len(sorted_values) - rank)))
    return corrected


def read_correctness(folder: Path) -> dict[str, bool]:
    """Return whether the prediction is correct for each test image of a run, by path.

    Raises:
        OSError: If `predictions.csv` cannot be read.
        KeyError: If `predictions.csv` does not have the expected columns.
    """
    return {row["path"]: row["label"] == row["predicted"] for row in read_predictions(folder)}


def mcnemar(first: Run, second: Run) -> dict[str, Any]:
    """Run the exact McNemar test (1947) on the images that both runs were tested on.

    The test uses the images that exactly one run predicts correctly. Under the null hypothesis this is either run with
    probability 0.5.
    """
    # Validation images chose the weights of one run, which would be compared with held-out ones of the other.
    is_comparable = (first.split == "val") == (second.split == "val")
    common_paths = first.correct.keys() & second.correct.keys() if is_comparable else set()
    pair = {"first": first.name, "second": second.name, "images": len(common_paths)}
    if not common_paths:
        return pair
    pair["same_images"] = len(common_paths) == len(first.correct) == len(second.correct)
    only_first = sum(first.correct[path] and not second.correct[path] for path in common_paths)
    only_second = sum(second.correct[path] and not first.correct[path] for path in common_paths)
    num_discordant = only_first + only_second
    p = float(binomtest(only_first, num_discordant).pvalue) if num_discordant else 1.0
    return pair | {"only_first_correct": only_first, "only_second_correct": only_second, "p": p}


def describe_pair(pair: Mapping[str, Any]) -> str:
    """Return the result of a McNemar test as a sentence."""
    first, second, num_images = pair["first"], pair["second"], pair["images"]
    if not num_images:
        return f"{second} and {first} were tested on different images and cannot be compared image by image."
    test_set = f"the {num_images:,} {'test' if pair['same_images'] else 'common test'} images"
    fewer, more = sorted((pair["only_first_correct"], pair["only_second_correct"]))
    if not more:
        return f"Of {test_set}, {second} and {first} classify exactly the same ones correctly."
    if fewer == more:
        return (
            f"{second} and {first} have the same accuracy on {test_set}: "
            f"each is correct on {more:,} that the other gets wrong."
        )
    better, worse = (second, first) if pair["only_second_correct"] > pair["only_first_correct"] else (first, second)
    verdict = "significant" if pair["p"] < SIGNIFICANCE_LEVEL else "not significant"
    p_text = "p < 0.0001" if pair["p"] < 0.0001 else f"p = {pair['p']:.2g}"
    return (
        f"{better} has a higher accuracy than {worse} on {test_set} ({more:,} correct only with {better}, "
        f"{fewer:,} only with {worse}). The difference is {verdict} ({p_text})."
    )
