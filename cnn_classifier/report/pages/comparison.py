"""The page of `cnn-classifier compare`."""

from pathlib import Path

from cnn_classifier.report.charts.svg import Content
from cnn_classifier.report.pages.html import write_page

WIDTH = 300.0  # of the intervals, in the units of the SVG


def write_compare_page(path: Path, content: Content) -> None:
    """Write one HTML file that needs neither network nor script.

    Args:
        path: The file; folders above it are created.
        content: What `compare` returns.

    Raises:
        StorageError: If the file cannot be written.
    """
    write_page(path, "compare.html.j2", content=content, scale=compute_scale(content))


def compute_scale(content: Content) -> dict[str, float]:
    """From where to where the axis of all intervals goes, with some air, as `low` and `span`."""
    lows, highs = zip(*(row["interval"] for row in content["runs"]), strict=True)
    padding = 0.1 * (max(highs) - min(lows))
    low, high = max(0.0, min(lows) - padding), min(1.0, max(highs) + padding)
    return {"low": low, "span": max(high - low, 1e-9)}
