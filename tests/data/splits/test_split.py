"""Every image has one place, the same one for the same seed, and what belongs together stays together."""

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

ROOT = Path("/pictures")  # nothing is read: a split needs paths only


def pictures(counts: dict[str, int], *splits: str, root: Path = ROOT) -> DatasetIndex:
    """So many images of each class, in each of the split folders or in none."""
    class_names = sorted(counts)
    samples = [
        Sample(root / (split or "") / name / f"{index:03d}.png", class_names.index(name), split)
        for split in splits or (None,)
        for name in class_names
        for index in range(counts[name])
    ]
    return DatasetIndex(root, samples, class_names, Counter())


def in_groups_of(size: int, scan: DatasetIndex) -> DatasetIndex:
    """Every so many images of a class are one group."""
    samples = [replace(s, group=f"{s.label} {int(s.path.stem) // size}") for s in scan.samples]
    return replace(scan, samples=samples)


def split(scan: DatasetIndex, *, seed: int = 1, ties: list[list[Path]] | None = None, **options: object) -> Splits:
    return split_samples(scan, DatasetConfig(**options), seed, ties or [])


def names(splits: Splits) -> dict[str, set[str]]:
    return {name: {sample.path.as_posix() for sample in samples} for name, samples in splits.items()}


def counts(splits: Splits) -> dict[str, list[int]]:
    """Images of the first and of the second class in each split."""
    return {name: [[s.label for s in samples].count(label) for label in (0, 1)] for name, samples in splits.items()}


def torn(splits: Splits, together: list[set[str]]) -> list[set[str]]:
    """Those sets of files that are not all in one split."""
    return [files for files in together if not any(files <= held for held in names(splits).values())]


def test_every_class_is_shared_out_by_the_same_fractions() -> None:
    splits = split(pictures({"cats": 100, "dogs": 20}))
    assert counts(splits) == {"train": [70, 14], "val": [10, 2], "test": [20, 4]}
    assert len(set().union(*names(splits).values())) == 120


def test_the_smallest_class_has_an_image_in_every_split_or_is_named() -> None:
    assert counts(split(pictures({"cats": 40, "dogs": 3}))) == {"train": [28, 1], "val": [4, 1], "test": [8, 1]}
    too_few = (
        r"^class 'dogs' has too few images to be in the {} split \(copies and groups count as one\); add images, or "
    )
    with pytest.raises(DataError, match=too_few.format("train")):
        split(pictures({"cats": 40, "dogs": 2}))
    with pytest.raises(DataError, match=too_few.format("test")):  # three dogs cannot be in each of four parts
        [split(pictures({"cats": 40, "dogs": 3}), folds=4, fold=fold) for fold in range(4)]


def test_the_seed_and_the_names_alone_decide_not_the_listing_nor_the_place_of_the_folder() -> None:
    scan = pictures({"cats": 30, "dogs": 30})
    backwards = replace(scan, samples=scan.samples[::-1])
    moved = pictures({"cats": 30, "dogs": 30}, root=Path("/elsewhere"))
    first = names(split(scan))
    assert names(split(backwards)) == first
    assert names(split(scan, seed=2)) != first
    assert {
        name: {file.replace("/elsewhere", "/pictures") for file in files} for name, files in names(split(moved)).items()
    } == first


def test_one_more_image_hardly_moves_the_others() -> None:
    before, after = (names(split(pictures({"cats": count, "dogs": 50}))) for count in (100, 101))
    assert sum(len(before[name] - after[name]) for name in before) <= 2


def test_what_has_no_folder_is_taken_off_train_alone() -> None:
    no_val = split(pictures({"cats": 20, "dogs": 20}, "train", "test"))
    assert counts(no_val) == {"train": [18, 18], "val": [2, 2], "test": [20, 20]}
    assert {sample.split for sample in no_val["val"]} == {"train"}
    no_test = split(pictures({"cats": 20, "dogs": 20}, "train", "val"))
    assert counts(no_test) == {"train": [16, 16], "val": [20, 20], "test": [4, 4]}
    assert {sample.split for sample in no_test["test"]} == {"train"}
    all_there = split(pictures({"cats": 5, "dogs": 5}, "train", "val", "test"))
    assert {name: {sample.split for sample in all_there[name]} for name in all_there} == {s: {s} for s in all_there}


def test_the_held_out_parts_of_all_folds_are_the_whole_and_even() -> None:
    scan = pictures({"cats": 22, "dogs": 13})
    folds = [split(scan, folds=5, fold=fold) for fold in range(5)]
    held_out = [names(fold)["test"] for fold in folds]
    assert sum(map(len, held_out)) == 35
    assert set().union(*held_out) == {sample.path.as_posix() for sample in scan.samples}
    assert {cats for cats, _ in (counts(fold)["test"] for fold in folds)} == {4, 5}
    assert {dogs for _, dogs in (counts(fold)["test"] for fold in folds)} == {2, 3}
    assert {len(part) for part in held_out} == {7}


@pytest.mark.parametrize("folders", [("train", "test"), ("train", "val", "test")])
def test_a_fold_becomes_validation_where_there_is_a_test_folder(folders: tuple[str, ...]) -> None:
    scan = pictures({"cats": 10, "dogs": 10}, *folders)
    folds = [names(split(scan, folds=5, fold=fold)) for fold in range(5)]
    learned_from = {sample.path.as_posix() for sample in scan.samples if sample.split != "test"}
    assert set().union(*(fold["val"] for fold in folds)) == learned_from
    assert all(fold["train"] == learned_from - fold["val"] for fold in folds)
    assert all(len(fold["test"]) == 20 for fold in folds)


def test_groups_are_never_torn_apart_and_the_fractions_nearly_kept() -> None:
    scan = in_groups_of(4, pictures({"cats": 80, "dogs": 40}))
    groups = [{path.as_posix() for path in paths} for paths in collect_groups(scan.samples)]
    splits = split(scan)
    assert len(groups) == 30
    assert torn(splits, groups) == []
    assert counts(splits) == {"train": [56, 28], "val": [8, 4], "test": [16, 8]}
    assert all(torn(split(scan, folds=5, fold=fold), groups) == [] for fold in range(5))
    assert counts(split(scan, folds=5, fold=2))["test"] == [16, 8]


def test_a_group_larger_than_the_share_still_leaves_every_split_an_image() -> None:
    splits = split(in_groups_of(10, pictures({"cats": 30, "dogs": 30})))
    assert counts(splits) == {"train": [10, 10], "val": [10, 10], "test": [10, 10]}
    with pytest.raises(DataError, match=r"^class 'cats' has too few images to be in the train split"):
        split(in_groups_of(15, pictures({"cats": 30, "dogs": 30})))


def test_copies_stay_together_across_classes_and_with_the_groups_they_touch() -> None:
    scan = in_groups_of(2, pictures({"cats": 40, "dogs": 40}))
    # 003 is of the group of 002 in each class, so that four images hang together.
    tie = [ROOT / "cats" / "003.png", ROOT / "dogs" / "003.png"]
    chain = {(ROOT / name / f"{index:03d}.png").as_posix() for name in ("cats", "dogs") for index in (2, 3)}
    for seed in range(10):
        assert torn(split(scan, seed=seed, ties=[tie]), [chain]) == []
        assert torn(split(scan, seed=seed, ties=[tie], folds=4), [chain]) == []


def test_copies_in_folders_of_other_splits_move_nothing() -> None:
    scan = pictures({"cats": 20, "dogs": 20}, "train", "test")
    tie = [ROOT / "train" / "cats" / "000.png", ROOT / "test" / "cats" / "000.png"]
    assert names(split(scan, ties=[tie])) == names(split(scan))


def test_a_limit_takes_as_many_of_each_class_from_each_folder() -> None:
    scan = pictures({"cats": 50, "dogs": 8}, "train", "test")
    chosen = Counter((sample.split, sample.label) for sample in limit_per_class(scan, 10, seed=1))
    assert chosen == {("train", 0): 10, ("train", 1): 8, ("test", 0): 10, ("test", 1): 8}
    assert {sample.path for sample in limit_per_class(scan, None, seed=1)} == {sample.path for sample in scan.samples}


def test_what_a_limit_must_leave_out_is_replaced_by_the_next_and_the_rest_stays() -> None:
    scan = pictures({"cats": 50, "dogs": 50})
    chosen = [sample.path for sample in limit_per_class(scan, 10, seed=1)]
    instead = [sample.path for sample in limit_per_class(scan, 10, seed=1, exclude={chosen[0]})]
    assert len(instead) == 20
    assert set(chosen) - set(instead) == {chosen[0]}


def test_near_copies_that_are_a_large_part_of_a_class_are_a_scene_and_no_tie() -> None:
    samples = pictures({"cats": 12, "dogs": 100}).samples
    cats, dogs = [sample.path for sample in samples[:12]], [sample.path for sample in samples[12:]]
    for kind, files, is_tie in [
        ("near", cats[:3], True),
        ("near", cats[:4], False),
        ("exact", cats[:4], True),
        ("near", dogs[:25], True),
        ("near", [*dogs[:20], *cats[:5]], False),
        ("near", [Path("elsewhere.png")], True),
    ]:
        assert linked_duplicates([(kind, files)], samples) == [files] * is_tie


def test_many_small_ties_within_a_large_one_are_joined_at_once() -> None:
    scan = pictures({"cats": 20_000})
    paths = [sample.path for sample in scan.samples]
    ties = [paths, *([path, other] for path, other in pairwise(paths))]
    assert [len(unit) for unit in merge_linked(scan.samples, ties)] == [20_000]
    assert [len(unit) for unit in merge_linked(scan.samples, ties[:0:-1])] == [20_000]
