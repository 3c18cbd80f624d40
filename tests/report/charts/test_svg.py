"""Axes, line charts and the charts of a run report."""

from cnn_classifier.report.charts.parallel_coordinates import break_name, build_parallel_coordinates
from cnn_classifier.report.charts.svg import HEIGHT, MAX_POINTS, WIDTH, Line, build_axis, build_chart
from cnn_classifier.report.charts.training import build_charts


def test_axes_end_at_round_ticks_and_percent_axes_at_100() -> None:
    assert build_axis("", [0.34, 0.97]).ticks[0] == (0.2, "0.2")
    percent_axis = build_axis("", [0.83, 0.999], as_percent=True)
    assert (percent_axis.low, percent_axis.high) == (0.8, 1.0)
    assert percent_axis.ticks[-1] == (1.0, "100 %")
    assert [label for _, label in build_axis("epoch", [1, 4], integer=True).ticks] == ["1", "2", "3", "4"]
    assert build_axis("", [0.5, 0.5]).low < 0.5 < build_axis("", [0.5, 0.5]).high  # a single value


def test_line_spans_the_plot_area_and_is_subsampled() -> None:
    axis = build_axis("", [0, 1], as_percent=True)
    chart = build_chart(
        [Line(name="", css_class="primary", points=[(0, 0), (1, 1)])], x=axis, y=axis, markers=[(0.5, 0.5)]
    )
    assert chart["lines"][0]["points"] == f"0,{HEIGHT:g} {WIDTH:g},0"
    assert chart["markers"] == [(WIDTH / 2, HEIGHT / 2)]
    long_chart = build_chart([Line(name="", css_class="primary", points=[(0, 0)] * 10_000)], x=axis, y=axis)
    assert len(long_chart["lines"][0]["points"].split()) <= MAX_POINTS


def test_charts_are_built_for_the_available_values() -> None:
    bins = [{"confidence": 0.9, "accuracy": 0.8, "images": 5}]
    content = {
        "evaluated": "test",
        "calibration": {"temperature": 1.0, "before": {"bins": bins}, "after": {"bins": bins}},
        "coverage": {"threshold": 0.0, "coverage": 1.0, "accuracy": 0.8, "curve": [{"coverage": 1.0, "accuracy": 0.8}]},
    }
    charts = build_charts(content)
    assert sorted(charts) == ["coverage", "reliability"]
    assert [line["name"] for line in charts["reliability"]["lines"]] == ["after scaling"]  # temperature 1
    assert charts["coverage"]["markers"] == []  # no threshold
    content["calibration"]["temperature"] = content["coverage"]["threshold"] = 0.7
    epochs = [{"epoch": 1, "train/loss": 0.9, "val/loss": 0.8, "train/accuracy": 0.5}]
    curve = {
        "best": {"false_positive_rate": 0, "true_positive_rate": 1, "recall": 1, "precision": 1},
        "points": [[0, 0]],
    }
    charts = build_charts(content | {"epochs": epochs, "curves": {"roc": curve, "precision_recall": curve}})
    assert [line["name"] for line in charts["reliability"]["lines"]] == ["before scaling", "after scaling"]
    assert len(charts["coverage"]["markers"]) == 1
    assert [line["name"] for line in charts["loss"]["lines"]] == ["training", "validation"]
    assert charts["loss"]["lines"][0]["dots"]  # a line of one epoch is invisible
    assert {"accuracy", "roc", "precision_recall"} <= charts.keys()


def test_names_of_parallel_axes_break_after_dots_and_underscores() -> None:
    assert break_name("optimizer.lr", 20) == ["optimizer.lr"]
    assert break_name("callbacks.early_stopping.patience", 11) == ["callbacks.", "early_", "stopping.", "patience"]
    assert break_name("model", 2) == ["model"]
    runs = [(dict.fromkeys(("seed", "callbacks.early_stopping.patience"), "1"), 0.5)] * 2
    axes = build_parallel_coordinates(runs, ["seed", "callbacks.early_stopping.patience"])["axes"]
    assert [len(axis["name_lines"]) for axis in axes] == [1, 1, 1]
