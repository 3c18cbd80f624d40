"""Values as lines in a chart: positions for a template that draws them as SVG, so that they follow light and dark."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.ticker import MaxNLocator

Point = tuple[float, float]
Content = Mapping[str, Any]

# The plotted area, in the units of the SVG: about the width of a phone, so that its words can be read there.
WIDTH, HEIGHT = 300.0, 200.0
MAX_POINTS = 300  # of a line


@dataclass(frozen=True)
class Axis:
    """From where to where an axis goes, and what is written along it.

    Args:
        name: What it measures.
        low: Its lower end.
        high: Its upper end.
        ticks: Values with their labels.
    """

    name: str
    low: float
    high: float
    ticks: Sequence[tuple[float, str]]

    def to_position(self, value: float, length: float) -> float:
        """Where a value lies on an axis of this length."""
        return round(length * (min(max(value, self.low), self.high) - self.low) / (self.high - self.low), 1)


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a chart.

    Args:
        name: What the legend says.
        kind: How it is drawn; a class of the style.
        points: x and y.
        sizes: The radius of a dot at each point; no dots if empty.
        titles: What each dot says when it is pointed at.
    """

    name: str
    css_class: str
    points: Sequence[Point]
    radii: Sequence[float] = ()
    tooltips: Sequence[str] = ()


def build_axis(name: str, values: Sequence[float], *, as_percent: bool = False, integer: bool = False) -> Axis:
    """An axis with round labels around these values.

    Args:
        name: What it measures.
        values: What it must hold.
        share: They are shares, told in per cent; it ends at 1 at most.
        whole: They are whole numbers.
    """
    low, high = min(values), max(values)
    if low == high:
        low, high = low - 0.5, high + 0.5
    if as_percent:
        low, high = max(0.0, low), min(1.0, high)
    locator = MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10], integer=integer)
    ticks = [float(tick) for tick in locator.tick_values(low, high)]
    if integer:
        ticks = [tick for tick in ticks if low <= tick <= high]
    else:
        low, high = ticks[0], ticks[-1]
    if as_percent:
        ticks = [tick for tick in ticks if 0 <= tick <= 1]
        low, high = max(0.0, low), min(1.0, high)
    return Axis(name, low, high, [(tick, f"{100 * tick:g} %" if as_percent else f"{tick:g}") for tick in ticks])


def build_chart(
    lines: Sequence[Line], *, x: Axis, y: Axis, markers: Sequence[Point] = (), show_diagonal: bool = False
) -> Content:
    """Everything a template needs to draw a chart.

    Args:
        lines: Below each other in the legend.
        x: The horizontal axis.
        y: The vertical axis.
        marks: Points that matter.
        equal: Draw the diagonal where both axes are equal.
    """

    def project(point: Point) -> Point:
        return x.to_position(point[0], WIDTH), round(HEIGHT - y.to_position(point[1], HEIGHT), 1)

    rendered = []
    for line in lines:
        points = [project(point) for point in line.points[:: -(-len(line.points) // MAX_POINTS) or 1]]
        dots = zip(points, line.radii, line.tooltips, strict=False)
        rendered.append(
            {
                "name": line.name,
                "kind": line.css_class,
                "points": " ".join(f"{left:g},{top:g}" for left, top in points),
                "dots": [(*point, round(size, 1), title) for point, size, title in dots],
            }
        )
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "x": {"name": x.name, "ticks": [(x.to_position(value, WIDTH), label) for value, label in x.ticks]},
        "y": {"name": y.name, "ticks": [(HEIGHT - y.to_position(value, HEIGHT), label) for value, label in y.ticks]},
        "lines": rendered,
        "marks": [project(mark) for mark in markers],
        "equal": show_diagonal,
    }
