"""What a check found becomes numbers, names below the folder, and advice."""

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

ROOT = Path("/pictures")  # nothing is read: the inspections are given
CLASSES = ["cats", "dogs"]


def summary_of(
    files: dict[str, ImageInfo], *, copies: list[tuple[str, list[str]]] | None = None, **ignored: int
) -> dict[str, Any]:
    """Of files named `class/name` or `split/class/name`."""
    samples = [
        Sample(ROOT / name, CLASSES.index(name.split("/")[-2]), name.split("/")[0] if name.count("/") == 2 else None)
        for name in files
    ]
    scan = DatasetIndex(
        ROOT, samples, CLASSES, Counter({f".{extension}": count for extension, count in ignored.items()})
    )
    audit = CheckResult({ROOT / name: name for name in files}, files)
    return summarize(scan, audit, [(kind, [ROOT / name for name in names]) for kind, names in copies or []])


def photo(width: int = 300, height: int = 300, *notes: str) -> ImageInfo:
    return ImageInfo(format="JPEG", width=width, height=height, warnings=notes)


def photos(**counts: int) -> dict[str, ImageInfo]:
    return {f"{name}/{index}.jpg": photo() for name, count in counts.items() for index in range(count)}


def test_images_are_counted_by_class_and_by_split_folder() -> None:
    flat = summary_of(photos(cats=6, dogs=4), txt=1, db=3)
    assert (flat["source"], flat["images"], flat["classes"]) == (str(ROOT), 10, {"cats": 6, "dogs": 4})
    assert (flat["splits"], flat["imbalance"]) == ({}, 1.5)
    assert list(flat["ignored"].items()) == [(".db", 3), (".txt", 1)]
    names = ["train/cats/0.jpg", "train/cats/1.jpg", "train/dogs/0.jpg", "test/cats/0.jpg"]
    assert summary_of(dict.fromkeys(names, photo()))["splits"] == {
        "train": {"cats": 2, "dogs": 1},
        "test": {"cats": 1, "dogs": 0},
    }


def test_it_is_plain_json() -> None:
    files = {
        **photos(cats=2, dogs=2),
        "cats/wide.png": photo(400, 30, "animated"),
        "dogs/x.jpg": ImageInfo(decode_error="cut"),
    }
    summary = summary_of(files, copies=[("near", ["cats/0.jpg", "dogs/0.jpg"])], txt=2)
    assert json.loads(json.dumps(summary)) == summary


def test_unreadable_files_are_named_below_the_folder_and_have_no_size() -> None:
    summary = summary_of({"cats/0.jpg": photo(10, 20), "dogs/0.jpg": ImageInfo(decode_error="the file is empty")})
    assert summary["bad"] == [{"path": "dogs/0.jpg", "reason": "the file is empty"}]
    assert summary["shapes"] == [[10, 20, 1]]
    nothing = summary_of(dict.fromkeys(["cats/0.jpg", "dogs/0.jpg"], ImageInfo(decode_error="the file is empty")))
    assert (nothing["sizes"], nothing["shapes"]) == ({}, [])
    assert nothing["suggestions"][1:] == ["files that cannot be read: 2; they are left out until they are mended"]


def test_oddities_come_with_their_treatment_and_examples_the_most_frequent_first() -> None:
    animated = {
        f"cats/{index}.gif": ImageInfo(format="GIF", width=9, height=9, warnings=("animated",)) for index in range(7)
    }
    summary = summary_of({"dogs/0.png": photo(300, 300, "cmyk"), **animated})
    assert [(note, found["count"]) for note, found in summary["notes"].items()] == [
        ("animated", 7),
        ("cmyk", 1),
        ("misnamed", 1),  # a JPEG that is called PNG
    ]
    assert summary["notes"]["animated"] == {
        "count": 7,
        "treatment": "the first frame is used",
        "examples": [f"cats/{index}.gif" for index in range(5)],
    }


def test_sizes_and_shapes_have_their_spread() -> None:
    summary = summary_of({"cats/0.jpg": photo(100, 200), "cats/1.jpg": photo(100, 200), "dogs/0.jpg": photo(3000, 100)})
    assert summary["sizes"] == {
        "width": {"min": 100, "median": 100.0, "max": 3000},
        "height": {"min": 100, "median": 200.0, "max": 200},
    }
    assert summary["shapes"] == [[100, 200, 2], [3000, 100, 1]]
    ratios = summary["aspect_ratios"]
    assert (len(ratios["edges"]), ratios["edges"][0], ratios["edges"][-1]) == (25, 0.25, 4.0)
    assert (sum(ratios["counts"]), ratios["counts"][6], ratios["counts"][-1]) == (3, 2, 1)


def test_a_picture_in_two_classes_is_a_conflict_and_in_two_splits_a_leak() -> None:
    names = ["train/cats/0.jpg", "train/cats/1.jpg", "train/dogs/0.jpg", "test/cats/0.jpg", "test/dogs/0.jpg"]
    summary = summary_of(
        dict.fromkeys(names, photo()),
        copies=[
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


def test_exact_copies_within_a_group_of_near_ones_are_one_picture() -> None:
    summary = summary_of(
        photos(cats=3, dogs=3),
        copies=[
            ("exact", ["cats/0.jpg", "dogs/0.jpg"]),
            ("exact", ["cats/2.jpg", "dogs/2.jpg"]),
            ("near", ["cats/0.jpg", "cats/1.jpg", "dogs/0.jpg"]),
        ],
    )
    assert (summary["conflicts"], summary["leaks"], len(summary["duplicates"])) == (2, 0, 3)


@pytest.mark.parametrize(
    ("files", "advice"),
    [
        (photos(cats=4, dogs=4), []),
        (photos(cats=8, dogs=5), ["the largest class is 1.6 times the smallest: use loss.class_weights=balanced or"]),
        (
            {
                "cats/0.jpg": photo(400, 200),
                "cats/1.jpg": photo(),
                "dogs/0.jpg": photo(300, 301),
                "dogs/1.jpg": photo(9, 90),
            },
            ["50% of images would lose more than a quarter to a centre crop: use dataset.resize=pad or stretch"],
        ),
        (
            {"cats/0.jpg": photo(32, 32), "dogs/0.jpg": photo(30, 28)},
            ["half of the images have no side over 32 pixels: dataset.image_size=32 shows all there is"],
        ),
    ],
)
def test_advice_names_the_option_that_helps(files: dict[str, ImageInfo], advice: list[str]) -> None:
    few, told = "classes with fewer than 3 images", summary_of(files)["suggestions"]
    told = [line for line in told if not line.startswith(few)]
    assert len(told) == len(advice)
    assert all(line.startswith(start) for line, start in zip(told, advice, strict=True))


def test_leaks_and_conflicts_are_the_first_advice() -> None:
    files = dict.fromkeys(["train/cats/0.jpg", "train/dogs/0.jpg", "test/cats/0.jpg"], photo())
    leak, conflict, imbalance = summary_of(files, copies=[("near", list(files))])["suggestions"]
    assert leak.startswith("pictures in more than one split: 1; the test is easier than it looks: remove the copies")
    assert conflict == "pictures in more than one class: 1; keep the right copy of each"
    assert imbalance.startswith("the largest class is 2 times the smallest")


def test_a_training_tells_only_what_is_wrong() -> None:
    assert training_warnings(summary_of(photos(cats=4, dogs=4))) == []
    files = dict.fromkeys(["train/cats/0.jpg", "train/cats/1.jpg", "train/dogs/0.jpg", "test/cats/0.jpg"], photo())
    files["test/dogs/0.jpg"] = ImageInfo(decode_error="the file is empty")
    copies = [("exact", ["train/cats/0.jpg", "train/cats/1.jpg"]), ("near", ["train/dogs/0.jpg", "test/cats/0.jpg"])]
    assert training_warnings(summary_of(files, copies=copies, txt=1, db=3)) == [
        "left out 1 unreadable image (all in report.json), such as test/dogs/0.jpg: the file is empty",
        "found 1 exact and 1 near copies",
        "pictures in more than one class: 1",
        "pictures in more than one split folder: 1; the test is easier than it looks",
        "passed over files that are no images or in no class: 3 .db, 1 .txt",
    ]


def test_groups_in_several_split_folders_are_told() -> None:
    samples = [
        Sample(ROOT / f"{split}/{name}/{patient}.png", CLASSES.index(name), split, patient)
        for split, patient in [("train", "p1"), ("train", "p2"), ("test", "p2"), ("test", "p3")]
        for name in CLASSES
    ]
    audit = CheckResult({sample.path: "digest" for sample in samples}, {"digest": photo()})
    summary = summarize(DatasetIndex(ROOT, samples, CLASSES, Counter()), audit, [])
    assert (summary["group_leaks"], summary["leaks"]) == (1, 0)
    assert summary["suggestions"][0] == "groups in more than one split: 1; keep each on one side"
    assert training_warnings(summary) == ["groups in more than one split folder: 1; the test is easier than it looks"]


def test_frames_of_one_camera_are_told() -> None:
    files = photos(cats=8, dogs=8)
    summary = summary_of(files, copies=[("near", [name for name in files if name.startswith("cats")])])
    assert summary["suggestions"][0].startswith("near copies that are a large part of a class: 1 group, such as frames")
    assert (
        training_warnings(summary)[-1] == "near copies too many to keep together: 1 group, split as different pictures"
    )


def test_images_without_a_split_are_counted_beside_those_with_one() -> None:
    files = dict.fromkeys(["test/cats/0.jpg", "test/dogs/0.jpg", "cats/0.jpg"], photo())
    assert summary_of(files)["splits"] == {"test": {"cats": 1, "dogs": 1}, "to be split": {"cats": 1, "dogs": 0}}


def test_a_class_too_small_to_split_is_the_first_advice_and_the_unreadable_do_not_count() -> None:
    files = {**photos(cats=9, dogs=2), "dogs/9.jpg": ImageInfo(decode_error="the file is empty")}
    summary = summary_of(files)
    assert summary["suggestions"][0] == "classes with fewer than 3 images: dogs; add some"
    assert summary["imbalance"] == 4.5
