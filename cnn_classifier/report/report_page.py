"""`report.html`: what a classifier can do, what it gets wrong, how sure it may be, and what it was made of."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cnn_classifier.report.charts import Content
from cnn_classifier.report.data_page import verdict, worst_first
from cnn_classifier.report.evaluation import SURE, Evaluation
from cnn_classifier.report.heat_map import MOST_WRITTEN, drawn_matrix
from cnn_classifier.report.page import thumbnails, write_page
from cnn_classifier.report.pictures import Gallery
from cnn_classifier.report.report_charts import charts_of

# These bounds keep the page below 5 MB.
MOST_GROUPS = 12  # of copies in the data
COPIES_EACH = 3  # pictures of a group
MOST_CLASSES = 1000  # rows of the table
MOST_LETTERS = 40_000  # of a configuration


def write_report_page(
    path: Path, content: Content, evaluation: Evaluation, *, pictures: Gallery, config: str = ""
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
    names = evaluation.class_names
    small = len(names) <= MOST_WRITTEN
    write_page(
        path,
        "report.html.j2",
        run=path.parent,
        content=content,
        images=len(evaluation.labels),
        class_names=names,
        folder=evaluation.folder,
        charts=charts_of(content),
        matrix=evaluation.confusion_matrix.tolist() if small else None,
        drawn=None if small else drawn_matrix(evaluation.confusion_matrix),
        panels=panels(pictures, evaluation),
        index={name: label for label, name in enumerate(names)},
        pictures=pictures,
        rows=class_rows(content["per_class"]),
        sure=SURE,
        mistakes=len(evaluation.mistakes()),
        suspects=len(evaluation.suspects()),
        shown={answer.path: number for number, answer in enumerate(pictures.mistakes)},
        config=config[:MOST_LETTERS],
        repeat=repeated(content["command"]) if "command" in content else "",
        predict=shlex.join(["cnn-classifier", "predict", content["checkpoint"]]) if "checkpoint" in content else "",
        **data_values(content.get("data")),
    )


def panels(pictures: Gallery, evaluation: Evaluation) -> dict[tuple[int, int], dict[str, Any]]:
    """The cells of the confusion matrix that can be looked into, each with its classes, its count and its pictures."""
    names = evaluation.class_names
    return {
        (true, said): {
            "label": names[true],
            "said": names[said],
            "images": int(evaluation.confusion_matrix[true, said]),
            "answers": answers,
        }
        for (true, said), answers in pictures.cells.items()
    }


def class_rows(per_class: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The classes in their order; where they are many, the worst first."""
    if len(per_class) <= MOST_WRITTEN:
        return list(per_class)
    return sorted(per_class, key=lambda row: row["f1"])[:MOST_CLASSES]


def repeated(command: Sequence[str]) -> str:
    """What to type to have it again."""
    program, *words = command
    if Path(program).name == "train.py":
        return shlex.join(["python", "train.py", *words])
    return shlex.join(["cnn-classifier", *([] if words[:1] in (["evaluate"], ["train"]) else ["train"]), *words])


def data_values(summary: Content | None) -> dict[str, Any]:
    """What `data_sections.html.j2` needs, for the images of a training."""
    if summary is None:
        return {"summary": None}
    groups = worst_first(summary["duplicates"])[:MOST_GROUPS]
    shown = [path for group in groups for path in group["paths"][:COPIES_EACH]]
    return {
        "summary": summary,
        "verdict": verdict(summary),
        "splits": summary["splits"] or {"images": summary["classes"]},
        "ranked": sorted(summary["classes"], key=summary["classes"].__getitem__, reverse=True),
        "size_chart": {},
        "samples": {},
        "groups": groups,
        "copies": COPIES_EACH,
        "thumbnails": thumbnails(shown, Path(summary["source"])),
        "heading": "h3",
    }
