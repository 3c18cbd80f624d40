"""Tests of the train/val/test split: fractions, folds, seeds, groups and limits."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from cnn_classifier.data.config import DatasetConfig
from cnn_classifier.data.sources.index import DatasetIndex, Sample
from cnn_classifier.data.splits.groups import collect_groups, linked_duplicates, merge_linked
from cnn_classifier.data.splits.split import Splits, limit_per_class, split_samples
from cnn_classifier.errors import DataError

ROOT = Path("/images")  # does not exist: the split does not read the files


def dataset(counts: dict[str, int], *splits: str, root: Path = ROOT) -> DatasetIndex:
    """Return the index of a dataset with these class counts, in each of the split folders or without any."""
    class_names = sorted(counts)
    samples = [
        Sample(root / (split or "") / name / f"{index:03d}.png", class_names.index(name), split)
        for split in splits or (None,)
        for name in class_names
        for index in range(counts[name])
    ]
    return DatasetIndex(root, samples, class_names, Counter())


def with_groups(size: int, index: DatasetIndex) -> DatasetIndex:
    """Assign every `size` consecutive images of a class to one group."""
    samples = [replace(s, group=f"{s.label} {int(s.path.stem) // size}") for s in index.samples]
    return replace(index, samples=samples)


def split(index: DatasetIndex, *, seed: int = 1, linked: list[list[Path]] | None = None, **options: object) -> Splits:
    return split_samples(index, DatasetConfig(**options), seed, linked or [])


def names(splits: Splits) -> dict[str, set[str]]:
    return {name: {sample.path.as_posix() for sample in samples} for name, samples in splits.items()}


def counts(splits: Splits) -> dict[str, list[int]]:
    """Count the images of the first and the second class in each split."""
    return {name: [[s.label for s in samples].count(label) for label in (0, 1)] for name, samples in splits.items()}


def divided(splits: Splits, groups: list[set[str]]) -> list[set[str]]:
    """Return the groups of files that are not in a single split."""
    return [files for files in groups if not any(files <= members for members in names(splits).values())]


def test_split_is_stratified_by_class() -> None:
    splits = split(dataset({"cats": 100, "dogs": 20}))
    assert counts(splits) == {"train": [70, 14], "val": [10, 2], "test": [20, 4]}
    assert len(set().union(*names(splits).values())) == 120


def test_single_image_is_used_for_training_and_two_also_for_testing() -> None:
    assert counts(split(dataset({"cats": 40, "dogs": 3}))) == {"train": [28, 1], "val": [4, 1], "test": [8, 1]}
    assert counts(split(dataset({"cats": 40, "dogs": 2}))) == {"train": [28, 1], "val": [4, 0], "test": [8, 1]}
    assert counts(split(dataset({"cats": 40, "dogs": 1}))) == {"train": [28, 1], "val": [4, 0], "test": [8, 0]}
    assert counts(split(dataset({"cats": 2, "dogs": 2}))) == {"train": [1, 1], "val": [0, 0], "test": [1, 1]}


def test_fraction_of_zero_leaves_a_split_empty() -> None:
    images = dataset({"cats": 20, "dogs": 20})
    assert counts(split(images, val_fraction=0)) == {"train": [16, 16], "val": [0, 0], "test": [4, 4]}
    assert counts(split(images, test_fraction=0)) == {"train": [18, 18], "val": [2, 2], "test": [0, 0]}
    assert counts(split(images, val_fraction=0, test_fraction=0))["train"] == [20, 20]
    assert counts(split(images, val_fraction=0, folds=5)) == {"train": [16, 16], "val": [0, 0], "test": [4, 4]}
    with pytest.raises(DataError, match=r"^dataset\.folds=5 is more than the images allow: a fold would be empty"):
        split(dataset({"cats": 2, "dogs": 2}), folds=5)


@pytest.mark.parametrize("num_dogs", [1, 2, 3])
def test_class_with_few_images_has_a_training_image_in_every_fold(num_dogs: int) -> None:
    index = dataset({"cats": 40, "dogs": num_dogs})
    folds = [split(index, folds=4, fold=fold) for fold in range(4)]
    assert all(counts(fold)["train"][1] >= 1 for fold in folds)
    assert sum(counts(fold)["test"][1] for fold in folds) == (0 if num_dogs == 1 else num_dogs)


def test_class_in_one_group_is_used_for_training_only() -> None:
    index = dataset({"cats": 40, "dogs": 6})
    linked = [[sample.path for sample in index.samples if sample.label == 1]]
    assert counts(split(index, linked=linked))["train"] == [28, 6]
    for fold in range(3):
        assert counts(split(index, linked=linked, folds=3, fold=fold))["train"][1] == 6


def test_split_depends_on_seed_and_relative_paths_only() -> None:
    index = dataset({"cats": 30, "dogs": 30})
    reversed_index = replace(index, samples=index.samples[::-1])
    moved_index = dataset({"cats": 30, "dogs": 30}, root=Path("/elsewhere"))
    first = names(split(index))
    assert names(split(reversed_index)) == first
    assert names(split(index, seed=2)) != first
    assert {
        name: {file.replace("/elsewhere", "/images") for file in files}
        for name, files in names(split(moved_index)).items()
    } == first


def test_additional_image_changes_few_assignments() -> None:
    before, after = (names(split(dataset({"cats": count, "dogs": 50}))) for count in (100, 101))
    assert sum(len(before[name] - after[name]) for name in before) <= 2


def test_missing_split_is_taken_from_train_folder() -> None:
    no_val = split(dataset({"cats": 20, "dogs": 20}, "train", "test"))
    assert counts(no_val) == {"train": [18, 18], "val": [2, 2], "test": [20, 20]}
    assert {sample.split for sample in no_val["val"]} == {"train"}
    no_test = split(dataset({"cats": 20, "dogs": 20}, "train", "val"))
    assert counts(no_test) == {"train": [16, 16], "val": [20, 20], "test": [4, 4]}
    assert {sample.split for sample in no_test["test"]} == {"train"}
    complete = split(dataset({"cats": 5, "dogs": 5}, "train", "val", "test"))
    assert {name: {sample.split for sample in complete[name]} for name in complete} == {s: {s} for s in complete}


def test_folds_partition_the_dataset_evenly() -> None:
    index = dataset({"cats": 22, "dogs": 13})
    folds = [split(index, folds=5, fold=fold) for fold in range(5)]
    held_out = [names(fold)["test"] for fold in folds]
    assert sum(map(len, held_out)) == 35
    assert set().union(*held_out) == {sample.path.as_posix() for sample in index.samples}
    assert {cats for cats, _ in (counts(fold)["test"] for fold in folds)} == {4, 5}
    assert {dogs for _, dogs in (counts(fold)["test"] for fold in folds)} == {2, 3}
    assert {len(part) for part in held_out} == {7}


@pytest.mark.parametrize("folders", [("train", "test"), ("train", "val", "test")])
def test_fold_is_validation_split_if_there_is_a_test_folder(folders: tuple[str, ...]) -> None:
    index = dataset({"cats": 10, "dogs": 10}, *folders)
    folds = [names(split(index, folds=5, fold=fold)) for fold in range(5)]
    train_and_val = {sample.path.as_posix() for sample in index.samples if sample.split != "test"}
    assert set().union(*(fold["val"] for fold in folds)) == train_and_val
    assert all(fold["train"] == train_and_val - fold["val"] for fold in folds)
    assert all(len(fold["test"]) == 20 for fold in folds)


def test_groups_are_not_divided_and_fractions_are_kept() -> None:
    index = with_groups(4, dataset({"cats": 80, "dogs": 40}))
    groups = [{path.as_posix() for path in paths} for paths in collect_groups(index.samples)]
    splits = split(index)
    assert len(groups) == 30
    assert divided(splits, groups) == []
    assert counts(splits) == {"train": [56, 28], "val": [8, 4], "test": [16, 8]}
    assert all(divided(split(index, folds=5, fold=fold), groups) == [] for fold in range(5))
    assert counts(split(index, folds=5, fold=2))["test"] == [16, 8]


def test_oversized_groups_leave_an_image_in_every_split() -> None:
    splits = split(with_groups(10, dataset({"cats": 30, "dogs": 30})))
    assert counts(splits) == {"train": [10, 10], "val": [10, 10], "test": [10, 10]}
    assert counts(split(with_groups(15, dataset({"cats": 30, "dogs": 30}))))["val"] == [0, 0]


def test_linked_files_and_their_groups_are_in_one_split() -> None:
    index = with_groups(2, dataset({"cats": 40, "dogs": 40}))
    # Image 003 is in the group of 002 in each class, so that four images are linked.
    linked = [ROOT / "cats" / "003.png", ROOT / "dogs" / "003.png"]
    chain = {(ROOT / name / f"{index:03d}.png").as_posix() for name in ("cats", "dogs") for index in (2, 3)}
    for seed in range(10):
        assert divided(split(index, seed=seed, linked=[linked]), [chain]) == []
        assert divided(split(index, seed=seed, linked=[linked], folds=4), [chain]) == []


def test_duplicates_in_different_split_folders_change_nothing() -> None:
    index = dataset({"cats": 20, "dogs": 20}, "train", "test")
    linked = [ROOT / "train" / "cats" / "000.png", ROOT / "test" / "cats" / "000.png"]
    assert names(split(index, linked=[linked])) == names(split(index))


def test_limit_per_class_applies_to_each_split_folder() -> None:
    index = dataset({"cats": 50, "dogs": 8}, "train", "test")
    selected = Counter((sample.split, sample.label) for sample in limit_per_class(index, 10, seed=1))
    assert selected == {("train", 0): 10, ("train", 1): 8, ("test", 0): 10, ("test", 1): 8}
    assert {sample.path for sample in limit_per_class(index, None, seed=1)} == {sample.path for sample in index.samples}


def test_excluded_file_is_replaced_and_others_are_unchanged() -> None:
    index = dataset({"cats": 50, "dogs": 50})
    selected = [sample.path for sample in limit_per_class(index, 10, seed=1)]
    reselected = [sample.path for sample in limit_per_class(index, 10, seed=1, exclude={selected[0]})]
    assert len(reselected) == 20
    assert set(selected) - set(reselected) == {selected[0]}


def test_near_duplicates_above_class_fraction_are_not_linked() -> None:
    samples = dataset({"cats": 12, "dogs": 100}).samples
    cats, dogs = [sample.path for sample in samples[:12]], [sample.path for sample in samples[12:]]
    for kind, files, is_linked in [
        ("near", cats[:3], True),
        ("near", cats[:4], False),
        ("exact", cats[:4], True),
        ("near", dogs[:25], True),
        ("near", [*dogs[:20], *cats[:5]], False),
        ("near", [Path("elsewhere.png")], True),
    ]:
        assert linked_duplicates([(kind, files)], samples) == [files] * is_linked


def test_overlapping_links_are_merged_in_linear_time() -> None:
    index = dataset({"cats": 20_000})
    paths = [sample.path for sample in index.samples]
    linked = [paths, *([path, other] for path, other in pairwise(paths))]
    assert [len(unit) for unit in merge_linked(index.samples, linked)] == [20_000]
    assert [len(unit) for unit in merge_linked(index.samples, linked[:0:-1])] == [20_000]
