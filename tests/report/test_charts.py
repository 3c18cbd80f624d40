"""Charts have round labels, and points where their values are."""

from cnn_classifier.report.charts import HEIGHT, MOST_POINTS, WIDTH, Line, axis, chart
from cnn_classifier.report.report_charts import charts_of


def test_axes_end_at_round_numbers_and_shares_at_100_per_cent() -> None:
    assert axis("", [0.34, 0.97]).ticks[0] == (0.2, "0.2")
    shares = axis("", [0.83, 0.999], share=True)
    assert (shares.low, shares.high) == (0.8, 1.0)
    assert shares.ticks[-1] == (1.0, "100 %")
    assert [label for _, label in axis("epoch", [1, 4], whole=True).ticks] == ["1", "2", "3", "4"]
    assert axis("", [0.5, 0.5]).low < 0.5 < axis("", [0.5, 0.5]).high  # a single value has a place, too


def test_a_line_goes_from_corner_to_corner_and_is_never_too_long() -> None:
    whole = axis("", [0, 1], share=True)
    drawn = chart([Line(name="", kind="main", points=[(0, 0), (1, 1)])], x=whole, y=whole, marks=[(0.5, 0.5)])
    assert drawn["lines"][0]["points"] == f"0,{HEIGHT:g} {WIDTH:g},0"
    assert drawn["marks"] == [(WIDTH / 2, HEIGHT / 2)]
    long = chart([Line(name="", kind="main", points=[(0, 0)] * 10_000)], x=whole, y=whole)
    assert len(long["lines"][0]["points"].split()) <= MOST_POINTS


def test_a_report_has_the_charts_that_it_has_values_for() -> None:
    bins = [{"confidence": 0.9, "accuracy": 0.8, "images": 5}]
    content = {
        "calibration": {"temperature": 1.0, "before": {"bins": bins}, "after": {"bins": bins}},
        "coverage": {"threshold": 0.0, "coverage": 1.0, "accuracy": 0.8, "curve": [{"coverage": 1.0, "accuracy": 0.8}]},
    }
    charts = charts_of(content)
    assert sorted(charts) == ["coverage", "reliability"]
    assert [line["name"] for line in charts["reliability"]["lines"]] == ["after"]  # nothing was scaled
    assert charts["coverage"]["marks"] == []  # there is no threshold
    content["calibration"]["temperature"] = content["coverage"]["threshold"] = 0.7
    epochs = [{"epoch": 1, "train/loss": 0.9, "val/loss": 0.8, "train/accuracy": 0.5}]
    curve = {
        "best": {"false_positive_rate": 0, "true_positive_rate": 1, "recall": 1, "precision": 1},
        "points": [[0, 0]],
    }
    charts = charts_of(content | {"epochs": epochs, "curves": {"roc": curve, "precision_recall": curve}})
    assert [line["name"] for line in charts["reliability"]["lines"]] == ["before", "after"]
    assert len(charts["coverage"]["marks"]) == 1
    assert [line["name"] for line in charts["loss"]["lines"]] == ["training", "validation"]
    assert charts["loss"]["lines"][0]["dots"]  # one epoch would not be seen as a line
    assert {"accuracy", "roc", "precision_recall"} <= charts.keys()
