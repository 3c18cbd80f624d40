"""The HTML page of the data check: findings, escaping of names, size limits."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.pages import Page, duplicate_group, make_summary, summary_with_name
from PIL import Image

from cnn_classifier.report.pages.data_check import (
    build_size_chart,
    sort_by_severity,
    summarize_findings,
    write_data_page,
)

MakeFolder = Callable[..., Path]
SAMPLES = {"cats": ["cats/000.png"], "dogs": ["dogs/000.png"]}


def write_and_parse(path: Path, content: dict[str, Any], root: Path, samples: Any = SAMPLES) -> Page:
    write_data_page(path, content, root=root, samples=samples)
    return Page(path)


def test_data_page_is_self_contained_and_supports_dark_mode(make_folder: MakeFolder, tmp_path: Path) -> None:
    page = write_and_parse(tmp_path / "new" / "data.html", make_summary(), make_folder({"cats": 4, "dogs": 2}))
    text = (tmp_path / "new" / "data.html").read_text(encoding="utf-8")
    assert text.lstrip().startswith("<!doctype html>")
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "iframe"})
    assert all(address.startswith("data:image/jpeg;base64,") for address in page.images)
    assert not re.search(r"https?:|url\(|@import", text)
    assert "prefers-color-scheme: dark" in text
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in page.tags
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["data.html"]


def test_data_page_shows_every_entry_of_the_summary(make_folder: MakeFolder, tmp_path: Path) -> None:
    content = make_summary(
        images=12_345,
        splits={"train": {"cats": 3, "dogs": 1}, "test": {"cats": 1, "dogs": 1}},
        unreadable=[{"path": "cats/torn.jpg", "reason": "cut short"}],
        warnings={"exif-rotated": {"count": 7, "treatment": "turned upright", "examples": ["dogs/turned.jpg"]}},
        duplicates=[
            duplicate_group("cats/000.png", "dogs/000.png", classes=["cats", "dogs"], splits=["train", "test"])
        ],
        ignored={".txt": 3},
        suggestions=["use dataset.resize=pad"],
    )
    text = write_and_parse(tmp_path / "data.html", content, make_folder({"cats": 1, "dogs": 1})).text
    headline = ("12,345", "2.0 : 1", "32 \u00d7 32", "1.5 s, 4 images/s", "train 4", "test 2", "dataset.resize=pad")
    files = ("cats/torn.jpg", "cut short", "exif-rotated", "turned upright", "dogs/turned.jpg", ".txt 3")
    group = ("label conflict", "in train and test", "cats / dogs", "identical files")
    assert [expected for expected in headline + files + group if expected not in text] == []


def test_findings_are_sorted_by_severity() -> None:
    leak = duplicate_group("a", "b", splits=["train", "test"])
    conflict = duplicate_group("c", "d", classes=["cats", "dogs"])
    harmless = duplicate_group("e", "f")
    splits = {split: {"cats": 4, "dogs": 2} for split in ("train", "val", "test")}
    unreadable = [{"path": "g", "reason": "h"}]
    content = make_summary(
        splits=splits, duplicates=[harmless, leak, conflict], conflicts=1, leaks=1, unreadable=unreadable
    )
    assert sort_by_severity(content["duplicates"]) == [conflict, leak, harmless]
    assert summarize_findings(content) == [
        ("1 unreadable file", "unreadable", "error"),
        ("1 label conflict", "duplicates", "error"),
        ("1 image in both train and test", "duplicates", "error"),
        ("1 duplicated image", "duplicates", "warning"),
    ]
    two_leaks = make_summary(
        splits=splits, duplicates=[leak, duplicate_group("i", "j", splits=["train", "val"])], leaks=2
    )
    assert [text for text, *_ in summarize_findings(two_leaks)] == ["2 images in several splits"]
    assert [text for text, *_ in summarize_findings(make_summary())] == ["No errors found"]
    only_harmless = summarize_findings(make_summary(duplicates=[harmless]))
    assert [text for text, *_ in only_harmless] == ["No errors found", "1 duplicated image"]


@pytest.mark.parametrize(
    ("name", "escaped"),
    [
        ('"><script>alert(1)</script>', '"><script>alert(1)</script>'),
        ("' onerror='alert(1)", "' onerror='alert(1)"),
        ("{{ 7 * 7 }} &amp; 猫 🐈 👨\u200d👩\u200d👧", "{{ 7 * 7 }} &amp; 猫 🐈 👨\u200d👩\u200d👧"),
        ("two\nlines\x00", r"two\nlines\x00"),
        ("caf\udce9", r"caf\udce9"),  # an invalid UTF-8 byte
        ("gpj\u202e.exe", r"gpj\u202e.exe"),  # right-to-left override
    ],
)
def test_hostile_names_are_escaped(name: str, escaped: str, tmp_path: Path) -> None:
    plain = write_and_parse(tmp_path / "plain.html", summary_with_name("name"), tmp_path, {"name": ["name"]})
    page = write_and_parse(tmp_path / "data.html", summary_with_name(name), tmp_path, {name: [name]})
    assert [(tag, list(attributes)) for tag, attributes in page.tags] == [
        (tag, list(attributes)) for tag, attributes in plain.tags
    ]
    assert page.text.count(escaped) >= 12


def test_data_page_of_1000_classes_is_smaller_than_5_mb(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    classes = {f"class {label}": 2000 - label for label in range(1000)}
    content = make_summary(
        classes=classes,
        splits=dict.fromkeys(["train", "val", "test"], classes),
        unreadable=[{"path": f"train/class 1/{index}.jpg", "reason": "cut short"} for index in range(20_000)],
        duplicates=[duplicate_group(*["noise.png"] * 500)] * 300,
        shapes=[[100 + index, 3000 - index, 1] for index in range(2000)],
    )
    page = write_and_parse(tmp_path / "data.html", content, tmp_path, {name: ["noise.png"] * 12 for name in classes})
    assert (tmp_path / "data.html").stat().st_size < 5_000_000
    assert len(page.images) == 240 + 120
    for expected in (
        "and 976 more classes",
        "760 more classes not shown",
        "240 more groups not shown",
        "and 19,980 more files",
    ):
        assert expected in page.text
    few = write_and_parse(
        tmp_path / "few.html", make_summary(), tmp_path, {"cats": ["noise.png"] * 200, "dogs": ["noise.png"]}
    )
    assert len(few.images) == 121


def test_size_chart_has_equal_logarithmic_axes_with_round_ticks() -> None:
    chart = build_size_chart([[200, 200, 3], [50, 400, 1]])
    assert [pixels for _, pixels in chart["ticks"]] == [20, 50, 100, 200, 500]
    assert [chart["ticks"][0][0], chart["ticks"][-1][0]] == [0, 100]
    (x, y, radius, *_), (narrow, tall, smaller, *named) = chart["circles"]
    assert x == y == chart["ticks"][3][0]
    assert narrow == chart["ticks"][1][0] < x < tall < 100
    assert smaller < radius
    assert named == [50, 400, 1]


def test_data_page_without_readable_images_has_no_size_charts(tmp_path: Path) -> None:
    content = make_summary(
        images=1,
        sizes={},
        shapes=[],
        aspect_ratios={"edges": [], "counts": []},
        unreadable=[{"path": "a", "reason": "b"}],
    )
    text = write_and_parse(tmp_path / "data.html", content | {"images_per_second": 0}, tmp_path, {"cats": ["a"]}).text
    assert "1 unreadable file" in text
    assert "images/s" not in text
    assert "Width" not in text
