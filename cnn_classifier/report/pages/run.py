"""`report.html`: what a classifier can do, what it gets wrong, how sure it may be, and what it was made of."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cnn_classifier.report.charts.confusion import MAX_TABLE_CLASSES, confusion_paths
from cnn_classifier.report.charts.svg import Content
from cnn_classifier.report.charts.training import build_charts
from cnn_classifier.report.metrics.evaluation import LABEL_ERROR_CONFIDENCE, Evaluation
from cnn_classifier.report.pages.data_check import sort_by_severity, summarize_findings
from cnn_classifier.report.pages.gallery import Gallery
from cnn_classifier.report.pages.html import make_thumbnails, write_page

# These bounds keep the page below 5 MB.
MAX_GROUPS = 12  # of copies in the data
COPIES_PER_GROUP = 3  # pictures of a group
MAX_CLASSES = 1000  # rows of the table
MAX_CONFIG_CHARS = 40_000  # of a configuration


def write_report_page(
    path: Path, content: Content, evaluation: Evaluation, *, gallery: Gallery, config: str = ""
) -> None:
    """Write one HTML file that needs neither network nor script.

    Args:
        path: The file.
        content: What `report.json` says.
        evaluation: The answers that it follows from.
        pictures: What is shown of them.
        config: The configuration of a training, as YAML.

    Raises:
        StorageError: If the file cannot be written.
    """
    class_names = evaluation.class_names
    is_small = len(class_names) <= MAX_TABLE_CLASSES
    write_page(
        path,
        "report.html.j2",
        run=path.parent,
        content=content,
        images=len(evaluation.labels),
        class_names=class_names,
        folder=evaluation.folder,
        charts=build_charts(content),
        matrix=evaluation.confusion_matrix.tolist() if is_small else None,
        drawn=None if is_small else confusion_paths(evaluation.confusion_matrix),
        panels=confusion_panels(gallery, evaluation),
        index={name: label for label, name in enumerate(class_names)},
        pictures=gallery,
        rows=select_class_rows(content["per_class"]),
        sure=LABEL_ERROR_CONFIDENCE,
        mistakes=len(evaluation.mistakes()),
        suspects=len(evaluation.suspected_label_errors()),
        shown={item.path: number for number, item in enumerate(gallery.mistakes)},
        config=config[:MAX_CONFIG_CHARS],
        repeat=reproduce_command(content["command"]) if "command" in content else "",
        predict=shlex.join(["cnn-classifier", "predict", content["checkpoint"]]) if "checkpoint" in content else "",
        **build_data_values(content.get("data")),
    )


def confusion_panels(gallery: Gallery, evaluation: Evaluation) -> dict[tuple[int, int], dict[str, Any]]:
    """The cells of the confusion matrix that can be looked into, each with its classes, its count and its pictures."""
    class_names = evaluation.class_names
    return {
        (true, predicted): {
            "label": class_names[true],
            "said": class_names[predicted],
            "images": int(evaluation.confusion_matrix[true, predicted]),
            "answers": items,
        }
        for (true, predicted), items in gallery.cells.items()
    }


def select_class_rows(per_class: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The classes in their order; where they are many, the worst first."""
    if len(per_class) <= MAX_TABLE_CLASSES:
        return list(per_class)
    return sorted(per_class, key=lambda row: row["f1"])[:MAX_CLASSES]


def reproduce_command(command: Sequence[str]) -> str:
    """What to type to have it again."""
    program, *arguments = command
    if Path(program).name == "train.py":
        return shlex.join(["python", "train.py", *arguments])
    return shlex.join(
        ["cnn-classifier", *([] if arguments[:1] in (["evaluate"], ["train"]) else ["train"]), *arguments]
    )


def build_data_values(summary: Content | None) -> dict[str, Any]:
    """What `data_sections.html.j2` needs, for the images of a training."""
    if summary is None:
        return {"summary": None}
    groups = sort_by_severity(summary["duplicates"])[:MAX_GROUPS]
    shown_paths = [path for group in groups for path in group["paths"][:COPIES_PER_GROUP]]
    return {
        "summary": summary,
        "verdict": summarize_findings(summary),
        "splits": summary["splits"] or {"images": summary["classes"]},
        "ranked": sorted(summary["classes"], key=summary["classes"].__getitem__, reverse=True),
        "size_chart": {},
        "samples": {},
        "groups": groups,
        "copies": COPIES_PER_GROUP,
        "thumbnails": make_thumbnails(shown_paths, Path(summary["source"])),
        "heading": "h3",
    }
