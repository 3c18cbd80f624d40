"""The SVG charts of a run report, built from the content of `report.json`."""

import math
from collections.abc import Sequence
from typing import Any

from cnn_classifier.report.charts.svg import Axis, Content, Line, build_axis, build_chart

QUARTER_TICKS = [(quarter / 4, f"{25 * quarter} %") for quarter in range(5)]


def build_charts(content: Content) -> dict[str, Content]:
    """Return the charts for which the content has values, by name."""
    charts = {}
    if content["evaluated"]:
        charts["reliability"] = build_reliability_chart(content["calibration"])
        charts["coverage"] = build_coverage_chart(content["coverage"])
    for metric in ("loss", "accuracy"):
        if any(f"val/{metric}" in row or f"train/{metric}" in row for row in content.get("epochs", ())):
            charts[metric] = build_learning_chart(content["epochs"], metric)
    if curves := content.get("curves"):
        charts |= {
            "roc": build_roc_chart(curves["roc"]),
            "precision_recall": build_precision_recall_chart(curves["precision_recall"]),
        }
    return charts


def build_learning_chart(epochs: Sequence[Content], metric: str) -> Content:
    """Build the learning curve of a metric for training and validation."""
    lines = []
    for stage, name, css_class in (("train", "training", "secondary"), ("val", "validation", "primary")):
        rows = [(row["epoch"], row[f"{stage}/{metric}"]) for row in epochs if f"{stage}/{metric}" in row]
        points = [point for point in rows if math.isfinite(point[1])]
        if points:
            lines.append(
                Line(name=name, css_class=css_class, points=points, **build_dots(points) if len(points) == 1 else {})
            )
    values = [value for line in lines for _, value in line.points]
    epoch_numbers = [row["epoch"] for row in epochs]
    return build_chart(
        lines,
        x=build_axis("epoch", epoch_numbers, integer=True),
        y=build_axis("", values, as_percent=metric == "accuracy"),
    )


def build_dots(points: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """Return dots for a line of a single point, which would be invisible otherwise."""
    return {"radii": [3.0] * len(points), "tooltips": [f"epoch {epoch:g}: {value:.4f}" for epoch, value in points]}


def build_reliability_chart(calibration: Content) -> Content:
    """Build the reliability diagram before and after temperature scaling; dot sizes show the number of images."""
    fractions = [row[key] for name in ("before", "after") for row in calibration[name]["bins"] for key in row]
    shared_axis = build_axis("", [*(fraction for fraction in fractions if fraction <= 1), 1.0], as_percent=True)
    lines = []
    is_scaled = calibration["temperature"] != 1
    for name, css_class in (("before", "secondary"), ("after", "primary"))[not is_scaled :]:
        bins = calibration[name]["bins"]
        num_images = sum(row["images"] for row in bins)
        lines.append(
            Line(
                name=f"{name} scaling",
                css_class=css_class,
                points=[(row["confidence"], row["accuracy"]) for row in bins],
                radii=[1.5 + 7 * math.sqrt(row["images"] / num_images) for row in bins],
                tooltips=[
                    f"confidence {row['confidence']:.1%}, accuracy {row['accuracy']:.1%}: {row['images']:,} images"
                    for row in bins
                ],
            )
        )
    return build_chart(
        lines,
        x=Axis("confidence", shared_axis.low, 1.0, shared_axis.ticks),
        y=Axis("accuracy", shared_axis.low, 1.0, shared_axis.ticks),
        show_diagonal=True,
    )


def build_coverage_chart(coverage: Content) -> Content:
    """Build the accuracy-coverage curve, with a marker at the threshold of the model."""
    points = [(row["coverage"], row["accuracy"]) for row in coverage["curve"]]
    has_threshold = coverage["threshold"] > 0 and coverage["accuracy"] is not None
    markers = [(coverage["coverage"], coverage["accuracy"])] if has_threshold else []
    lines = [Line(name="accuracy", css_class="primary", points=points)]
    x = Axis("coverage", 0.0, 1.0, QUARTER_TICKS)
    return build_chart(
        lines, x=x, y=build_axis("accuracy", [value for _, value in points], as_percent=True), markers=markers
    )


def build_roc_chart(roc: Content) -> Content:
    """Build the ROC curve with a marker at the best threshold."""
    markers = [(roc["best"]["false_positive_rate"], roc["best"]["true_positive_rate"])]
    lines = [Line(name="ROC", css_class="primary", points=roc["points"])]
    x = Axis("false positive rate", 0.0, 1.0, QUARTER_TICKS)
    return build_chart(
        lines, x=x, y=Axis("true positive rate", 0.0, 1.0, QUARTER_TICKS), markers=markers, show_diagonal=True
    )


def build_precision_recall_chart(curve: Content) -> Content:
    """Build the precision-recall curve with a marker at the best threshold."""
    lines = [Line(name="precision", css_class="primary", points=curve["points"])]
    markers = [(curve["best"]["recall"], curve["best"]["precision"])]
    return build_chart(
        lines, x=Axis("recall", 0.0, 1.0, QUARTER_TICKS), y=Axis("precision", 0.0, 1.0, QUARTER_TICKS), markers=markers
    )
