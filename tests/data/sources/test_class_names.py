"""Tests of class name validation and renaming."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cnn_classifier.data.config import DatasetConfig
from cnn_classifier.data.sources.class_names import note_unmatched_names, rename_classes
from cnn_classifier.data.sources.folder import scan_eval_folder, scan_root
from cnn_classifier.data.sources.resolve import scan_source
from cnn_classifier.errors import ConfigError, DataError

MakeFolder = Callable[..., Path]


@pytest.mark.skipif(sys.platform != "linux", reason="such names are one folder, or none, elsewhere")
@pytest.mark.parametrize(
    ("layout", "message"),
    [
        (
            {"Cat": 1, "cat": 1, "dog": 1},
            "images has classes 'Cat' and 'cat', which differ only in case or in the encoding of accents. Merge or",
        ),
        ({"PetImages/Cat": 1, "PetImages/cat": 1}, "PetImages has classes 'Cat' and 'cat', which differ only in case"),
        (
            {"caf\N{LATIN SMALL LETTER E WITH ACUTE}": 1, "cafe\N{COMBINING ACUTE ACCENT}": 1},
            "which differ only in case or in the encoding of accents. Merge or rename them.",
        ),
        (
            {"cats\nblack": 1, "dogs": 1},
            r"images has a class 'cats\nblack'. Expected a UTF-8 name without line breaks",
        ),
    ],
)
def test_class_names_invalid_on_some_systems_raise_data_error(
    make_folder: MakeFolder, layout: dict[str, int], message: str
) -> None:
    with pytest.raises(DataError) as raised:
        scan_root(make_folder(layout))
    assert message in str(raised.value)


def test_renamed_classes_are_sorted_by_new_name(make_folder: MakeFolder) -> None:
    index = scan_root(make_folder({"cane": 1, "gatto": 2, "zebra": 1}))
    in_english = rename_classes(index, {"cane": "dog", "gatto": "cat", "ragno": "spider"})
    assert in_english.class_names == ["cat", "dog", "zebra"]
    assert [sample.label for sample in in_english.samples] == [1, 0, 0, 2]
    assert rename_classes(index, None) is index
    assert note_unmatched_names(index, {"cane": "dog", "cavallo": "horse", "bird": "zebra"}) == [
        "dataset.rename_classes: there is no class cavallo."
    ]
    assert note_unmatched_names(index, None) == []


def test_classes_with_the_same_new_name_are_merged(make_folder: MakeFolder) -> None:
    index = scan_root(make_folder({"0": 1, "poodle": 1, "siamese": 1}))
    merged = rename_classes(index, {0: "cat", "poodle": "dog", "siamese": "cat"})  # type: ignore[dict-item]  # YAML's 0
    assert merged.class_names == ["cat", "dog"]
    assert [sample.label for sample in merged.samples] == [0, 1, 0]
    with pytest.raises(DataError, match=r"^dataset\.rename_classes has classes 'Cat' and 'cat'"):
        rename_classes(index, {"0": "Cat", "siamese": "cat"})


def test_single_renamed_class_is_valid_for_evaluation_but_not_for_training(make_folder: MakeFolder) -> None:
    root = make_folder({"poodle": 1, "terrier": 2})
    names: dict[str | int, str | int] = {"poodle": "dog", "terrier": "dog", "siamese": "cat"}
    evaluated = rename_classes(scan_eval_folder(root), names)
    assert (evaluated.class_names, [sample.label for sample in evaluated.samples]) == (["dog"], [0, 0, 0])
    with pytest.raises(
        ConfigError, match=r"^dataset\.rename_classes renames every class to 'dog'\. Expected at least two names"
    ):
        scan_source(DatasetConfig(root=str(root), rename_classes=names))
