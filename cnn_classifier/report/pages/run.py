"""The HTML report of a training run or an evaluation."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cnn_classifier.files import display_path
from cnn_classifier.report.charts.confusion import MAX_TABLE_CLASSES, confusion_paths
from cnn_classifier.report.charts.svg import Content
from cnn_classifier.report.charts.training import build_charts
from cnn_classifier.report.metrics.evaluation import LABEL_ERROR_CONFIDENCE, Evaluation
from cnn_classifier.report.pages.data_check import sort_by_severity, summarize_findings
from cnn_classifier.report.pages.gallery import Gallery
from cnn_classifier.report.pages.html import make_thumbnails, write_page

# These bounds keep the page below 5 MB.
MAX_GROUPS = 12  # groups of duplicates
COPIES_PER_GROUP = 3  # thumbnails of a group
MAX_CLASSES = 1000  # rows of the per-class table
MAX_CONFIG_CHARS = 40_000
IMAGES_NAMES = {"test": "test image", "val": "validation image", "out_of_fold": "out-of-fold image"}


def write_report_page(
    path: Path, content: Content, evaluation: Evaluation, *, gallery: Gallery, config: str = ""
) -> None:
    """Write the report as a self-contained HTML file.

    Args:
        path: The output file.
        content: The content of `report.json`.
        evaluation: The predictions on the test images; the page of a run without any has no metrics.
        gallery: The images to show.
        config: The configuration of the run as YAML; empty for an evaluation.

    Raises:
        StorageError: If the file cannot be written.
    """
    class_names = evaluation.class_names
    is_small, num_images = len(class_names) <= MAX_TABLE_CLASSES, len(evaluation.labels)
    write_page(
        path,
        "report.html.j2",
        run_dir=path.parent,
        content=content,
        num_images=num_images,
        images_name=IMAGES_NAMES[evaluation.split],
        class_names=class_names,
        folder=evaluation.folder if num_images else "",
        charts=build_charts(content),
        matrix=evaluation.confusion_matrix.tolist() if is_small and num_images else None,
        matrix_paths=None if is_small or not num_images else confusion_paths(evaluation.confusion_matrix),
        panels=confusion_panels(gallery, evaluation),
        label_by_name={name: label for label, name in enumerate(class_names)},
        gallery=gallery,
        class_rows=select_class_rows(content.get("per_class", ())),
        label_error_confidence=LABEL_ERROR_CONFIDENCE,
        num_mistakes=len(evaluation.mistakes()),
        num_label_errors=len(evaluation.suspected_label_errors()),
        mistake_index_by_path={item.path: number for number, item in enumerate(gallery.mistakes)},
        config=config[:MAX_CONFIG_CHARS],
        train_command=content.get("command", ""),
        predict_command=format_predict_command(content, path.parent) if "checkpoint" in content else "",
        **build_data_values(content.get("data")),
    )


def format_predict_command(content: Mapping[str, Any], folder: Path) -> str:
    """Return the command that predicts with the checkpoint; a run names it relative to its directory."""
    checkpoint = folder / content["checkpoint"] if "epochs" in content else Path(content["checkpoint"])
    return shlex.join(["cnn-classifier", "predict", str(display_path(checkpoint))])


def confusion_panels(gallery: Gallery, evaluation: Evaluation) -> dict[tuple[int, int], dict[str, Any]]:
    """Return the classes, the count and the images of each cell of the confusion matrix that has images."""
    class_names = evaluation.class_names
    return {
        (true, predicted): {
            "label": class_names[true],
            "predicted": class_names[predicted],
            "num_images": int(evaluation.confusion_matrix[true, predicted]),
            "examples": items,
        }
        for (true, predicted), items in gallery.cells.items()
    }


def select_class_rows(per_class: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the rows of the per-class table; with many classes those of the lowest F1 first."""
    if len(per_class) <= MAX_TABLE_CLASSES:
        return list(per_class)
    return sorted(per_class, key=lambda row: (row["f1"] is None, row["f1"]))[:MAX_CLASSES]


def build_data_values(summary: Content | None) -> dict[str, Any]:
    """Return the variables of `data_sections.html.j2` for the dataset of a run."""
    if summary is None:
        return {"summary": None}
    groups = sort_by_severity(summary["duplicates"])[:MAX_GROUPS]
    shown_paths = [path for group in groups for path in group["paths"][:COPIES_PER_GROUP]]
    return {
        "summary": summary,
        "findings": summarize_findings(summary),
        "splits": summary["splits"] or {"images": summary["classes"]},
        "class_names_by_size": sorted(summary["classes"], key=summary["classes"].__getitem__, reverse=True),
        "size_chart": {},
        "samples": {},
        "groups": groups,
        "copies_per_group": COPIES_PER_GROUP,
        "thumbnails": make_thumbnails(shown_paths, Path(summary["source"]), summary.get("value_range")),
        "heading": "h3",
    }
