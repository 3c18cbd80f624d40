"""The charts of a training's report, from what `report.json` says."""

import math
from collections.abc import Sequence
from typing import Any

from cnn_classifier.report.charts import Axis, Content, Line, axis, chart

QUARTERS = [(share / 4, f"{25 * share} %") for share in range(5)]


def charts_of(content: Content) -> dict[str, Content]:
    """Every chart that the content has values for, by name."""
    found = {
        "reliability": reliability_chart(content["calibration"]),
        "coverage": coverage_chart(content["coverage"]),
    }
    for metric in ("loss", "accuracy"):
        if any(f"val/{metric}" in row or f"train/{metric}" in row for row in content.get("epochs", ())):
            found[metric] = learning_chart(content["epochs"], metric)
    if curves := content.get("curves"):
        found |= {"roc": roc_chart(curves["roc"]), "precision_recall": recall_chart(curves["precision_recall"])}
    return found


def learning_chart(epochs: Sequence[Content], metric: str) -> Content:
    """One metric of training and validation over the epochs."""
    lines = []
    for stage, name, kind in (("train", "training", "quiet"), ("val", "validation", "main")):
        rows = [(row["epoch"], row[f"{stage}/{metric}"]) for row in epochs if f"{stage}/{metric}" in row]
        points = [point for point in rows if math.isfinite(point[1])]
        if points:
            lines.append(Line(name=name, kind=kind, points=points, **dots(points) if len(points) == 1 else {}))
    values = [value for line in lines for _, value in line.points]
    numbers = [row["epoch"] for row in epochs]
    return chart(lines, x=axis("epoch", numbers, whole=True), y=axis("", values, share=metric == "accuracy"))


def dots(points: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """A dot for a line of a single point, which would not be seen."""
    return {"sizes": [3.0] * len(points), "titles": [f"epoch {epoch:g}: {value:.4f}" for epoch, value in points]}


def reliability_chart(calibration: Content) -> Content:
    """How often it was right against how sure it was, without and with the temperature; larger dots: more images."""
    shares = [row[key] for name in ("before", "after") for row in calibration[name]["bins"] for key in row]
    both = axis("", [*(share for share in shares if share <= 1), 1.0], share=True)
    lines = []
    scaled = calibration["temperature"] != 1
    for name, kind in (("before", "quiet"), ("after", "main"))[not scaled :]:
        bins = calibration[name]["bins"]
        images = sum(row["images"] for row in bins)
        lines.append(
            Line(
                name=name,
                kind=kind,
                points=[(row["confidence"], row["accuracy"]) for row in bins],
                sizes=[1.5 + 7 * math.sqrt(row["images"] / images) for row in bins],
                titles=[
                    f"{row['confidence']:.0%} sure, {row['accuracy']:.0%} right: {row['images']:,} images"
                    for row in bins
                ],
            )
        )
    return chart(
        lines, x=Axis("how sure", both.low, 1.0, both.ticks), y=Axis("right", both.low, 1.0, both.ticks), equal=True
    )


def coverage_chart(coverage: Content) -> Content:
    """Accuracy of what is answered against the share that is, marked at the model's own threshold."""
    points = [(row["coverage"], row["accuracy"]) for row in coverage["curve"]]
    marked = coverage["threshold"] > 0 and coverage["accuracy"] is not None
    marks = [(coverage["coverage"], coverage["accuracy"])] if marked else []
    lines = [Line(name="accuracy", kind="main", points=points)]
    x = Axis("images answered", 0.0, 1.0, QUARTERS)
    return chart(lines, x=x, y=axis("right", [value for _, value in points], share=True), marks=marks)


def roc_chart(roc: Content) -> Content:
    """True against false positives."""
    marks = [(roc["best"]["false_positive_rate"], roc["best"]["true_positive_rate"])]
    lines = [Line(name="ROC", kind="main", points=roc["points"])]
    x = Axis("false positives", 0.0, 1.0, QUARTERS)
    return chart(lines, x=x, y=Axis("true positives", 0.0, 1.0, QUARTERS), marks=marks, equal=True)


def recall_chart(curve: Content) -> Content:
    """Precision against recall."""
    lines = [Line(name="precision", kind="main", points=curve["points"])]
    marks = [(curve["best"]["recall"], curve["best"]["precision"])]
    return chart(lines, x=Axis("recall", 0.0, 1.0, QUARTERS), y=Axis("precision", 0.0, 1.0, QUARTERS), marks=marks)
