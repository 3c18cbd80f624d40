"""The results of a training and of an evaluation that are printed on the console."""

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cnn_classifier.data.sources.class_names import pluralize
from cnn_classifier.errors import quote_argument
from cnn_classifier.files import REPORT_HTML, REPORT_JSON, display_path
from cnn_classifier.report.text_table import format_table

METRICS = ("precision", "recall", "f1")


def format_run_summary(run_dir: Path, checkpoint: Path, report: Mapping[str, Any]) -> str:
    """Return the test metrics, the output paths and the command to predict with.

    Args:
        run_dir: The run directory.
        checkpoint: The path of the best checkpoint.
        report: The content of `report.json`.
    """
    seconds = report["timing"]["total_seconds"]
    folder, checkpoint_path = display_path(run_dir), display_path(checkpoint)
    script = Path(sys.executable).with_name("cnn-classifier")  # if the virtual environment is not activated
    command = "cnn-classifier" if shutil.which("cnn-classifier") else display_path(script)
    logdir = quote_argument(str(folder))
    tensorboard = f"\n  tensorboard --logdir {logdir}" if (run_dir / "tensorboard").is_dir() else ""
    return (
        f"\n{format_scores(report)}  in {seconds:.0f} s\n"
        f"  report      {folder / REPORT_HTML}, metrics in {folder / REPORT_JSON}\n"
        f"  checkpoint  {checkpoint_path}\n"
        f"  predict     {command} predict {quote_argument(str(checkpoint_path))} IMAGE|FOLDER"
        f"{tensorboard}"
    )


def format_scores(report: Mapping[str, Any]) -> str:
    """Return accuracy, F1 and loss of a run with the split that they were measured on."""
    split = report["evaluated"]
    if split is None:
        return "test accuracy not measured: there are no test images"
    prefix = "test accuracy not measured  " if split == "val" else ""
    name = {"test": "test", "val": "validation", "out_of_fold": "out-of-fold"}[split]
    scores = report[split]
    line = f"{name} accuracy {scores['accuracy']:.4f}  F1 (macro) {scores['f1_macro']:.4f}  loss {scores['loss']:.4f}"
    return f"{format_folds(report)}{prefix}{line}"


def format_folds(report: Mapping[str, Any]) -> str:
    """Return a line with the accuracy over the folds of a cross-validation; empty for another run."""
    if "folds" not in report:
        return ""
    folds, (low, high) = report["folds"], report["folds"]["interval"]
    accuracy = folds["metrics"]["accuracy"]
    pooled = f"pooled {report['out_of_fold']['accuracy']:.4f} (95 % interval {low:.4f} to {high:.4f})"
    mean = f"{accuracy['mean']:.4f} ± {accuracy['std']:.4f} (mean and standard deviation)"
    return f"{folds['count']} folds: accuracy {mean}, {pooled}\n"


def format_evaluation(report: Mapping[str, Any]) -> str:
    """Return the scores, the interval of the accuracy and the per-class table; absent classes have no metrics.

    Args:
        report: The content of `report.json`.
    """
    hidden = ("_weighted", "_uncalibrated")
    score_line = "  ".join(f"{name} {value:.4f}" for name, value in report["test"].items() if not name.endswith(hidden))
    low, high = report["intervals"]["accuracy"]
    num_images = sum(row["support"] for row in report["per_class"])
    rows = [
        (row["class"], *(f"{row[key]:.4f}" if row["support"] else "-" for key in METRICS), str(row["support"]))
        for row in report["per_class"]
    ]
    table = format_table([("class", *METRICS, "images"), *rows], right_align=range(1, 5))
    interval = f"95 % interval of the accuracy: {low:.4f} to {high:.4f} ({pluralize(num_images, 'image')})"
    return f"{score_line}\n{interval}\n\n{table}"
