"""Coordinates of line charts, which the templates draw as SVG so that they follow the color scheme of the page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.ticker import MaxNLocator

Point = tuple[float, float]
Content = Mapping[str, Any]

# The size of the plot area in units of the SVG, about the width of a phone so that labels stay legible there.
WIDTH, HEIGHT = 300.0, 200.0
MAX_POINTS = 300  # per line


@dataclass(frozen=True)
class Axis:
    """The range and the tick labels of an axis.

    Args:
        name: The label of the axis.
        low: The lower limit.
        high: The upper limit.
        ticks: The tick values with their labels.
    """

    name: str
    low: float
    high: float
    ticks: Sequence[tuple[float, str]]

    def to_position(self, value: float, length: float) -> float:
        """Return the position of a value, clipped to the limits, on an axis of the given length."""
        return round(length * (min(max(value, self.low), self.high) - self.low) / (self.high - self.low), 1)


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of a chart.

    Args:
        name: The name in the legend.
        css_class: The CSS class of the line and its dots.
        points: The x and y values.
        radii: The radius of the dot at each point; no dots if empty.
        tooltips: The tooltip of each dot.
    """

    name: str
    css_class: str
    points: Sequence[Point]
    radii: Sequence[float] = ()
    tooltips: Sequence[str] = ()


def build_axis(name: str, values: Sequence[float], *, as_percent: bool = False, integer: bool = False) -> Axis:
    """Build an axis with round tick values that contains the given values.

    Args:
        name: The label of the axis.
        values: The values to contain.
        as_percent: Whether the values are fractions to be labeled in percent; limits the axis to [0, 1].
        integer: Whether to use integer ticks only.
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
    """Return the coordinates of a chart for the template.

    Args:
        lines: The lines in the order of the legend.
        x: The horizontal axis.
        y: The vertical axis.
        markers: The points to highlight.
        show_diagonal: Whether to draw the diagonal of equal values.
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
                "css_class": line.css_class,
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
        "markers": [project(marker) for marker in markers],
        "show_diagonal": show_diagonal,
    }
