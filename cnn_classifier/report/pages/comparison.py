"""The HTML page of `cnn-classifier compare`."""

from pathlib import Path

from cnn_classifier.report.charts.svg import Content
from cnn_classifier.report.pages.html import write_page


def write_compare_page(path: Path, content: Content) -> None:
    """Write the comparison as a self-contained HTML file.

    Args:
        path: The output file; missing parent folders are created.
        content: The return value of `compare`.

    Raises:
        StorageError: If the file cannot be written.
    """
    write_page(path, "compare.html.j2", content=content, scale=compute_scale(content))


def compute_scale(content: Content) -> dict[str, float]:
    """Return the padded range of all confidence intervals as `low` and `span`."""
    measured = [row["interval"] for row in content["runs"] if row["interval"]]
    lows, highs = zip(*(measured or [(0.0, 1.0)]), strict=True)
    padding = 0.1 * (max(highs) - min(lows))
    low, high = max(0.0, min(lows) - padding), min(1.0, max(highs) + padding)
    return {"low": low, "span": max(high - low, 1e-9)}
