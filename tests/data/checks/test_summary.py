"""Tests of the dataset summary, its suggestions and the warnings before training."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from cnn_classifier.data.checks.check import CheckResult
from cnn_classifier.data.checks.image_info import ImageInfo
from cnn_classifier.data.checks.suggestions import training_warnings
from cnn_classifier.data.checks.summary import summarize
from cnn_classifier.data.sources.index import DatasetIndex, Sample

ROOT = Path("/images")  # does not exist: the image infos are constructed
CLASSES = ["cats", "dogs"]


def summary_of(
    files: dict[str, ImageInfo], *, duplicates: list[tuple[str, list[str]]] | None = None, **ignored: int
) -> dict[str, Any]:
    """Return the summary of files named `class/name` or `split/class/name`."""
    samples = [
        Sample(ROOT / name, CLASSES.index(name.split("/")[-2]), name.split("/")[0] if name.count("/") == 2 else None)
        for name in files
    ]
    index = DatasetIndex(
        ROOT, samples, CLASSES, Counter({f".{extension}": count for extension, count in ignored.items()})
    )
    check_result = CheckResult({ROOT / name: name for name in files}, files)
    return summarize(index, check_result, [(kind, [ROOT / name for name in names]) for kind, names in duplicates or []])


def photo(width: int = 300, height: int = 300, *warnings: str) -> ImageInfo:
    return ImageInfo(format="JPEG", width=width, height=height, warnings=warnings)


def photos(**counts: int) -> dict[str, ImageInfo]:
    return {f"{name}/{index}.jpg": photo() for name, count in counts.items() for index in range(count)}


def test_images_are_counted_by_class_and_split_folder() -> None:
    flat = summary_of(photos(cats=6, dogs=4), txt=1, db=3)
    assert (flat["source"], flat["images"], flat["classes"]) == (str(ROOT), 10, {"cats": 6, "dogs": 4})
    assert (flat["splits"], flat["imbalance"]) == ({}, 1.5)
    assert list(flat["ignored"].items()) == [(".db", 3), (".txt", 1)]
    names = ["train/cats/0.jpg", "train/cats/1.jpg", "train/dogs/0.jpg", "test/cats/0.jpg"]
    assert summary_of(dict.fromkeys(names, photo()))["splits"] == {
        "train": {"cats": 2, "dogs": 1},
        "test": {"cats": 1, "dogs": 0},
    }


def test_summary_is_json_serializable() -> None:
    files = {
        **photos(cats=2, dogs=2),
        "cats/wide.png": photo(400, 30, "animated"),
        "dogs/x.jpg": ImageInfo(decode_error="cut"),
    }
    summary = summary_of(files, duplicates=[("near", ["cats/0.jpg", "dogs/0.jpg"])], txt=2)
    assert json.loads(json.dumps(summary)) == summary


def test_unreadable_files_have_relative_paths_and_no_size() -> None:
    summary = summary_of({"cats/0.jpg": photo(10, 20), "dogs/0.jpg": ImageInfo(decode_error="the file is empty")})
    assert summary["unreadable"] == [{"path": "dogs/0.jpg", "reason": "the file is empty"}]
    assert summary["shapes"] == [[10, 20, 1]]
    all_unreadable = summary_of(
        dict.fromkeys(["cats/0.jpg", "dogs/0.jpg"], ImageInfo(decode_error="the file is empty"))
    )
    assert (all_unreadable["sizes"], all_unreadable["shapes"]) == ({}, [])
    assert all_unreadable["suggestions"][1:] == ["Unreadable files: 2. They are skipped. Repair or remove them."]


def test_warnings_have_treatment_and_examples_most_frequent_first() -> None:
    animated = {
        f"cats/{index}.gif": ImageInfo(format="GIF", width=9, height=9, warnings=("animated",)) for index in range(7)
    }
    summary = summary_of({"dogs/0.png": photo(300, 300, "cmyk"), **animated})
    assert [(warning, entry["count"]) for warning, entry in summary["warnings"].items()] == [
        ("animated", 7),
        ("cmyk", 1),
        ("misnamed", 1),  # a JPEG with the extension .png
    ]
    assert summary["warnings"]["animated"] == {
        "count": 7,
        "treatment": "the first frame is used",
        "examples": [f"cats/{index}.gif" for index in range(5)],
    }


def test_sizes_shapes_and_aspect_ratios_are_summarized() -> None:
    summary = summary_of({"cats/0.jpg": photo(100, 200), "cats/1.jpg": photo(100, 200), "dogs/0.jpg": photo(3000, 100)})
    assert summary["sizes"] == {
        "width": {"min": 100, "median": 100.0, "max": 3000},
        "height": {"min": 100, "median": 200.0, "max": 200},
    }
    assert summary["shapes"] == [[100, 200, 2], [3000, 100, 1]]
    ratios = summary["aspect_ratios"]
    assert (len(ratios["edges"]), ratios["edges"][0], ratios["edges"][-1]) == (25, 0.25, 4.0)
    assert (sum(ratios["counts"]), ratios["counts"][6], ratios["counts"][-1]) == (3, 2, 1)


def test_duplicates_in_two_classes_are_conflicts_and_in_two_splits_leaks() -> None:
    names = ["train/cats/0.jpg", "train/cats/1.jpg", "train/dogs/0.jpg", "test/cats/0.jpg", "test/dogs/0.jpg"]
    summary = summary_of(
        dict.fromkeys(names, photo()),
        duplicates=[
            ("exact", ["train/cats/0.jpg", "train/cats/1.jpg"]),
            ("near", ["train/dogs/0.jpg", "test/cats/0.jpg"]),
        ],
    )
    assert summary["duplicates"] == [
        {
            "kind": "exact",
            "paths": ["train/cats/0.jpg", "train/cats/1.jpg"],
            "classes": ["cats"],
            "splits": ["train"],
        },
        {
            "kind": "near",
            "paths": ["train/dogs/0.jpg", "test/cats/0.jpg"],
            "classes": ["cats", "dogs"],
            "splits": ["test", "train"],
        },
    ]
    assert (summary["conflicts"], summary["leaks"]) == (1, 1)


def test_exact_duplicates_within_near_duplicate_group_count_once() -> None:
    summary = summary_of(
        photos(cats=3, dogs=3),
        duplicates=[
            ("exact", ["cats/0.jpg", "dogs/0.jpg"]),
            ("exact", ["cats/2.jpg", "dogs/2.jpg"]),
            ("near", ["cats/0.jpg", "cats/1.jpg", "dogs/0.jpg"]),
        ],
    )
    assert (summary["conflicts"], summary["leaks"], len(summary["duplicates"])) == (2, 0, 3)


@pytest.mark.parametrize(
    ("files", "suggestions"),
    [
        (photos(cats=4, dogs=4), []),
        (
            photos(cats=8, dogs=5),
            ["The largest class has 1.6 times as many images as the smallest. Use loss.class_weights=balanced"],
        ),
        (
            {
                "cats/0.jpg": photo(400, 200),
                "cats/1.jpg": photo(),
                "dogs/0.jpg": photo(300, 301),
                "dogs/1.jpg": photo(9, 90),
            },
            ["One side of 50% of the images is over 1.33 times the other. dataset.resize=pad keeps their shapes"],
        ),
        (
            {"cats/0.jpg": photo(32, 32), "dogs/0.jpg": photo(30, 28)},
            ["Half of the images have no side longer than 32 pixels. dataset.image_size=32 keeps all their detail."],
        ),
    ],
)
def test_suggestion_names_the_option(files: dict[str, ImageInfo], suggestions: list[str]) -> None:
    result = [line for line in summary_of(files)["suggestions"] if not line.startswith("Classes with fewer than 3")]
    assert len(result) == len(suggestions)
    assert all(line.startswith(start) for line, start in zip(result, suggestions, strict=True))


def test_leaks_and_conflicts_are_the_first_suggestions() -> None:
    files = dict.fromkeys(["train/cats/0.jpg", "train/dogs/0.jpg", "test/cats/0.jpg"], photo())
    absent, leak, conflict, imbalance = summary_of(files, duplicates=[("near", list(files))])["suggestions"]
    assert absent == "Classes without images in a split folder: dogs (test)."
    assert leak.startswith(
        "Images in more than one split: 1. They make the test metrics too optimistic. Remove the dup"
    )
    assert conflict == "Images in more than one class: 1. Keep only the correctly labeled file of each."
    assert imbalance.startswith("The largest class has 2 times as many images as the smallest.")


def test_training_warnings_list_only_problems() -> None:
    assert training_warnings(summary_of(photos(cats=4, dogs=4))) == []
    files = dict.fromkeys(["train/cats/0.jpg", "train/cats/1.jpg", "train/dogs/0.jpg", "test/cats/0.jpg"], photo())
    files["test/dogs/0.jpg"] = ImageInfo(decode_error="the file is empty")
    duplicates = [
        ("exact", ["train/cats/0.jpg", "train/cats/1.jpg"]),
        ("near", ["train/dogs/0.jpg", "test/cats/0.jpg"]),
    ]
    assert training_warnings(summary_of(files, duplicates=duplicates, txt=1, db=3)) == [
        "Skipped 1 unreadable image (all listed in report.json), such as test/dogs/0.jpg: the file is empty",
        "Found 1 exact duplicate and 1 near-duplicate.",
        "Images in more than one class: 1.",
        "Images in more than one split folder: 1. They make the test metrics too optimistic.",
        "Ignored files that are not images or not in a class folder: 3 .db, 1 .txt.",
    ]


def test_groups_in_two_split_folders_are_reported() -> None:
    samples = [
        Sample(ROOT / f"{split}/{name}/{patient}.png", CLASSES.index(name), split, patient)
        for split, patient in [("train", "p1"), ("train", "p2"), ("test", "p2"), ("test", "p3")]
        for name in CLASSES
    ]
    check_result = CheckResult({sample.path: "digest" for sample in samples}, {"digest": photo()})
    summary = summarize(DatasetIndex(ROOT, samples, CLASSES, Counter()), check_result, [])
    assert (summary["group_leaks"], summary["leaks"]) == (1, 0)
    assert summary["suggestions"][0] == "Groups in more than one split: 1. Move each group into one split."
    assert training_warnings(summary) == [
        "Groups in more than one split folder: 1. They make the test metrics too optimistic."
    ]


def test_oversized_near_duplicate_group_is_reported() -> None:
    files = photos(cats=8, dogs=8)
    summary = summary_of(files, duplicates=[("near", [name for name in files if name.startswith("cats")])])
    assert summary["suggestions"][0].startswith(
        "Near-duplicates that make up a large part of a class, such as the frames of a video: 1 group. They are"
    )
    assert training_warnings(summary)[-1] == (
        "Near-duplicate groups too large to keep in one split: 1. They are split as different images."
    )


def test_images_outside_split_folders_are_counted_as_unassigned() -> None:
    files = dict.fromkeys(["test/cats/0.jpg", "test/dogs/0.jpg", "cats/0.jpg"], photo())
    assert summary_of(files)["splits"] == {"test": {"cats": 1, "dogs": 1}, "unassigned": {"cats": 1, "dogs": 0}}


def test_class_with_too_few_readable_images_is_the_first_suggestion() -> None:
    files = {**photos(cats=9, dogs=2), "dogs/9.jpg": ImageInfo(decode_error="the file is empty")}
    summary = summary_of(files)
    assert summary["suggestions"][0] == (
        "Classes with fewer than 3 images: dogs. One image is used for training only, two for training and testing. "
        "Add images."
    )
    assert summary["imbalance"] == 4.5
