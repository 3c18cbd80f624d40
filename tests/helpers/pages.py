"""Data-check summaries and an HTML parser for the tests of pages."""

from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any


def make_summary(**values: Any) -> dict[str, Any]:
    """Return the summary of six images of pets without problems, updated with `values`."""
    sides = {"min": 32, "median": 32.0, "max": 32}
    return {
        "source": "pets",
        "images": 6,
        "classes": {"cats": 4, "dogs": 2},
        "splits": {},
        "imbalance": 2.0,
        "unreadable": [],
        "warnings": {},
        "duplicates": [],
        "conflicts": 0,
        "leaks": 0,
        "group_leaks": 0,
        "ignored": {},
        "sizes": {"width": sides, "height": sides},
        "shapes": [[32, 32, 6]],
        "aspect_ratios": {"edges": [0.5, 1.0, 2.0], "counts": [0, 6]},
        "suggestions": [],
        "seconds": 1.5,
        "images_per_second": 4.0,
    } | values


def duplicate_group(
    *paths: str, kind: str = "exact", classes: Sequence[str] = ("cats",), splits: Sequence[str] = ()
) -> Any:
    """Return a group of duplicates."""
    return {"kind": kind, "paths": list(paths), "classes": list(classes), "splits": list(splits)}


class Page(HTMLParser):
    """The tags, the image sources and the text of an HTML file."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))
        self.images = [attributes["src"] or "" for tag, attributes in self.tags if tag == "img"]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def summary_with_name(name: str) -> dict[str, Any]:
    """Return a summary that contains one name wherever a name can occur."""
    return make_summary(
        source=name,
        classes={name: 1},
        splits={name: {name: 1}},
        unreadable=[{"path": name, "reason": name}],
        warnings={name: {"count": 1, "treatment": name, "examples": [name]}},
        duplicates=[duplicate_group(*[name] * 9, classes=[name, name], splits=[name, name])],
        ignored={name: 1},
        suggestions=[name],
    )
