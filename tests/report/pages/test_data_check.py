"""The page says what is wrong first, shows it, and stands alone whatever the files are called."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.pages import Page, copies, hostile, summary
from PIL import Image

from cnn_classifier.report.pages.data_check import (
    build_size_chart,
    sort_by_severity,
    summarize_findings,
    write_data_page,
)

MakeFolder = Callable[..., Path]
SAMPLES = {"cats": ["cats/000.png"], "dogs": ["dogs/000.png"]}


def written(path: Path, content: dict[str, Any], root: Path, samples: Any = SAMPLES) -> Page:
    write_data_page(path, content, root=root, samples=samples)
    return Page(path)


def test_the_page_stands_alone_and_fits_dark_rooms_and_phones(make_folder: MakeFolder, tmp_path: Path) -> None:
    page = written(tmp_path / "new" / "data.html", summary(), make_folder({"cats": 4, "dogs": 2}))
    text = (tmp_path / "new" / "data.html").read_text(encoding="utf-8")
    assert text.lstrip().startswith("<!doctype html>")
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "iframe"})
    assert all(address.startswith("data:image/jpeg;base64,") for address in page.pictures)
    assert not re.search(r"https?:|url\(|@import", text)
    assert "prefers-color-scheme: dark" in text
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in page.tags
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["data.html"]


def test_everything_that_was_found_is_told(make_folder: MakeFolder, tmp_path: Path) -> None:
    found = summary(
        images=12_345,
        splits={"train": {"cats": 3, "dogs": 1}, "test": {"cats": 1, "dogs": 1}},
        unreadable=[{"path": "cats/torn.jpg", "reason": "cut short"}],
        warnings={"exif-rotated": {"count": 7, "treatment": "turned upright", "examples": ["dogs/turned.jpg"]}},
        duplicates=[copies("cats/000.png", "dogs/000.png", classes=["cats", "dogs"], splits=["train", "test"])],
        ignored={".txt": 3},
        suggestions=["use dataset.resize=pad"],
    )
    words = written(tmp_path / "data.html", found, make_folder({"cats": 1, "dogs": 1})).words
    headline = ("12,345", "2.0 : 1", "32 \u00d7 32", "in 1.5 s, 4 a second", "train 4", "test 2", "dataset.resize=pad")
    files = ("cats/torn.jpg", "cut short", "exif-rotated", "turned upright", "dogs/turned.jpg", ".txt 3")
    group = ("label conflict", "in train and test", "cats / dogs", "same bytes")
    assert [told for told in headline + files + group if told not in words] == []


def test_what_is_wrong_comes_first_and_what_does_little_harm_last() -> None:
    leak = copies("a", "b", splits=["train", "test"])
    conflict = copies("c", "d", classes=["cats", "dogs"])
    harmless = copies("e", "f")
    splits = {split: {"cats": 4, "dogs": 2} for split in ("train", "val", "test")}
    bad = [{"path": "g", "reason": "h"}]
    found = summary(splits=splits, duplicates=[harmless, leak, conflict], conflicts=1, leaks=1, unreadable=bad)
    assert sort_by_severity(found["duplicates"]) == [conflict, leak, harmless]
    assert summarize_findings(found) == [
        ("1 unreadable", "unreadable", "wrong"),
        ("1 label conflict", "duplicates", "wrong"),
        ("1 picture in train and test", "duplicates", "wrong"),
        ("1 picture more than once", "duplicates", "odd"),
    ]
    twice = summary(splits=splits, duplicates=[leak, copies("i", "j", splits=["train", "val"])], leaks=2)
    assert [text for text, *_ in summarize_findings(twice)] == ["2 pictures in several splits"]
    assert [text for text, *_ in summarize_findings(summary())] == ["Nothing wrong found"]
    only_copies = summarize_findings(summary(duplicates=[harmless]))
    assert [text for text, *_ in only_copies] == ["Nothing wrong found", "1 picture more than once"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ('"><script>alert(1)</script>', '"><script>alert(1)</script>'),
        ("' onerror='alert(1)", "' onerror='alert(1)"),
        ("{{ 7 * 7 }} &amp; 猫 🐈 👨\u200d👩\u200d👧", "{{ 7 * 7 }} &amp; 猫 🐈 👨\u200d👩\u200d👧"),
        ("two\nlines\x00", r"two\nlines\x00"),
        ("caf\udce9", r"caf\udce9"),  # a byte that is no UTF-8
        ("gpj\u202e.exe", r"gpj\u202e.exe"),  # would be shown from right to left
    ],
)
def test_names_are_shown_as_they_are_and_do_nothing(name: str, shown: str, tmp_path: Path) -> None:
    plain = written(tmp_path / "plain.html", hostile("name"), tmp_path, {"name": ["name"]})
    page = written(tmp_path / "data.html", hostile(name), tmp_path, {name: [name]})
    assert [(tag, list(attributes)) for tag, attributes in page.tags] == [
        (tag, list(attributes)) for tag, attributes in plain.tags
    ]
    assert page.words.count(shown) >= 12


def test_a_thousand_classes_and_pictures_of_noise_stay_below_five_megabytes(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    classes = {f"class {label}": 2000 - label for label in range(1000)}
    found = summary(
        classes=classes,
        splits=dict.fromkeys(["train", "val", "test"], classes),
        unreadable=[{"path": f"train/class 1/{index}.jpg", "reason": "cut short"} for index in range(20_000)],
        duplicates=[copies(*["noise.png"] * 500)] * 300,
        shapes=[[100 + index, 3000 - index, 1] for index in range(2000)],
    )
    page = written(tmp_path / "data.html", found, tmp_path, {name: ["noise.png"] * 12 for name in classes})
    assert (tmp_path / "data.html").stat().st_size < 5_000_000
    assert len(page.pictures) == 240 + 120
    for told in ("and 976 more classes", "And 760 more classes", "And 240 more groups", "and 19,980 more files"):
        assert told in page.words
    few = written(tmp_path / "few.html", summary(), tmp_path, {"cats": ["noise.png"] * 200, "dogs": ["noise.png"]})
    assert len(few.pictures) == 121


def test_sizes_stand_on_alike_axes_with_round_labels_around_them() -> None:
    chart = build_size_chart([[200, 200, 3], [50, 400, 1]])
    assert [pixels for _, pixels in chart["ticks"]] == [20, 50, 100, 200, 500]
    assert [chart["ticks"][0][0], chart["ticks"][-1][0]] == [0, 100]
    (x, y, radius, *_), (narrow, tall, smaller, *named) = chart["circles"]
    assert x == y == chart["ticks"][3][0]
    assert narrow == chart["ticks"][1][0] < x < tall < 100
    assert smaller < radius
    assert named == [50, 400, 1]


def test_a_set_without_a_readable_image_has_a_page_too(tmp_path: Path) -> None:
    nothing = summary(
        images=1,
        sizes={},
        shapes=[],
        aspect_ratios={"edges": [], "counts": []},
        unreadable=[{"path": "a", "reason": "b"}],
    )
    words = written(tmp_path / "data.html", nothing | {"images_per_second": 0}, tmp_path, {"cats": ["a"]}).words
    assert "1 unreadable" in words
    assert "a second" not in words
    assert "Width" not in words
