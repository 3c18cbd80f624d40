"""Charts have round labels, and points where their values are."""

from cnn_classifier.report.charts.svg import HEIGHT, MAX_POINTS, WIDTH, Line, build_axis, build_chart
from cnn_classifier.report.charts.training import build_charts


def test_axes_end_at_round_numbers_and_shares_at_100_per_cent() -> None:
    assert build_axis("", [0.34, 0.97]).ticks[0] == (0.2, "0.2")
    shares = build_axis("", [0.83, 0.999], as_percent=True)
    assert (shares.low, shares.high) == (0.8, 1.0)
    assert shares.ticks[-1] == (1.0, "100 %")
    assert [label for _, label in build_axis("epoch", [1, 4], integer=True).ticks] == ["1", "2", "3", "4"]
    assert build_axis("", [0.5, 0.5]).low < 0.5 < build_axis("", [0.5, 0.5]).high  # a single value has a place, too


def test_a_line_goes_from_corner_to_corner_and_is_never_too_long() -> None:
    whole = build_axis("", [0, 1], as_percent=True)
    drawn = build_chart(
        [Line(name="", css_class="main", points=[(0, 0), (1, 1)])], x=whole, y=whole, markers=[(0.5, 0.5)]
    )
    assert drawn["lines"][0]["points"] == f"0,{HEIGHT:g} {WIDTH:g},0"
    assert drawn["marks"] == [(WIDTH / 2, HEIGHT / 2)]
    long = build_chart([Line(name="", css_class="main", points=[(0, 0)] * 10_000)], x=whole, y=whole)
    assert len(long["lines"][0]["points"].split()) <= MAX_POINTS


def test_a_report_has_the_charts_that_it_has_values_for() -> None:
    bins = [{"confidence": 0.9, "accuracy": 0.8, "images": 5}]
    content = {
        "calibration": {"temperature": 1.0, "before": {"bins": bins}, "after": {"bins": bins}},
        "coverage": {"threshold": 0.0, "coverage": 1.0, "accuracy": 0.8, "curve": [{"coverage": 1.0, "accuracy": 0.8}]},
    }
    charts = build_charts(content)
    assert sorted(charts) == ["coverage", "reliability"]
    assert [line["name"] for line in charts["reliability"]["lines"]] == ["after"]  # nothing was scaled
    assert charts["coverage"]["marks"] == []  # there is no threshold
    content["calibration"]["temperature"] = content["coverage"]["threshold"] = 0.7
    epochs = [{"epoch": 1, "train/loss": 0.9, "val/loss": 0.8, "train/accuracy": 0.5}]
    curve = {
        "best": {"false_positive_rate": 0, "true_positive_rate": 1, "recall": 1, "precision": 1},
        "points": [[0, 0]],
    }
    charts = build_charts(content | {"epochs": epochs, "curves": {"roc": curve, "precision_recall": curve}})
    assert [line["name"] for line in charts["reliability"]["lines"]] == ["before", "after"]
    assert len(charts["coverage"]["marks"]) == 1
    assert [line["name"] for line in charts["loss"]["lines"]] == ["training", "validation"]
    assert charts["loss"]["lines"][0]["dots"]  # one epoch would not be seen as a line
    assert {"accuracy", "roc", "precision_recall"} <= charts.keys()
