"""Assign images to train, val and test: stratified, seeded, copies and groups kept together."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Container, Iterable, Sequence
from hashlib import blake2b
from pathlib import Path

from cnn_classifier.data.folder import Sample, Scan
from cnn_classifier.data.options import DatasetOptions
from cnn_classifier.errors import DataError

Splits = dict[str, list[Sample]]
# Above this share of a class, near copies are a scene.
SCENE = 0.25


def split_samples(scan: Scan, options: DatasetOptions, seed: int, ties: Iterable[Collection[Path]] = ()) -> Splits:
    """The samples of train, val and test.

    Splits that came as folders stay as they are. What has no folder is taken from the training images, class by
    class. With `folds`, part number `fold` becomes the test split, or the validation split where a test folder exists.

    Args:
        scan: The images; all of them are used.
        options: The fractions, or the fold.
        seed: Together with the files' names below the scanned folder it decides who goes where.
        ties: Files that must not be torn apart, such as copies of one picture; samples of one group never are.

    Raises:
        DataError: If a class has too few images to be in every split.
    """
    samples = sorted(scan.samples, key=ranking(scan.root, seed))
    splits: Splits = {
        "train": [sample for sample in samples if sample.split in (None, "train")],
        "val": [sample for sample in samples if sample.split == "val"],
        "test": [sample for sample in samples if sample.split == "test"],
    }
    ties = [*ties, *groups_of(samples)]
    if options.folds:
        held_out = "val" if splits["test"] else "test"
        pool = units((sample for sample in samples if sample.split in (None, "train", held_out)), ties)
        splits["train"], splits[held_out] = take_fold(pool, options.folds, options.fold)
    # Fractions are of all images: validation must not shrink because the test split was taken first.
    val_fraction = options.val_fraction / (1 if splits["test"] else 1 - options.test_fraction)
    if not splits["test"]:
        splits["train"], splits["test"] = take_fraction(units(splits["train"], ties), options.test_fraction)
    if not splits["val"]:
        splits["train"], splits["val"] = take_fraction(units(splits["train"], ties), val_fraction)
    require_every_class(splits, scan.class_names)
    return splits


def limited(scan: Scan, limit_per_class: int | None, seed: int, leave_out: Container[Path] = ()) -> list[Sample]:
    """At most so many images of each class from each folder, others in place of those that are left out."""
    samples = [sample for sample in scan.samples if sample.path not in leave_out]
    if limit_per_class is None:
        return samples
    taken: Counter[tuple[str | None, int]] = Counter()
    chosen = []
    for sample in sorted(samples, key=ranking(scan.root, seed)):
        taken[sample.split, sample.label] += 1
        if taken[sample.split, sample.label] <= limit_per_class:
            chosen.append(sample)
    return chosen


def ranking(root: Path, seed: int) -> Callable[[Sample], bytes]:
    """A key that sorts samples as if drawn by lot, whatever order they came in and wherever the folder lies.

    The lot of an image depends on its name and the seed alone, so that more images hardly move the others.
    """
    top = f"{root.absolute().as_posix()}/"
    here = f"{Path.cwd().as_posix()}/"

    def rank(sample: Sample) -> bytes:
        path = sample.path
        name = (path.as_posix() if path.is_absolute() else here + path.as_posix()).removeprefix(top)
        return blake2b(f"{seed} {name}".encode("utf-8", "surrogateescape"), digest_size=16).digest()

    return rank


def groups_of(samples: Iterable[Sample]) -> list[list[Path]]:
    """The files of each named group."""
    groups: defaultdict[str, list[Path]] = defaultdict(list)
    for sample in samples:
        if sample.group is not None:
            groups[sample.group].append(sample.path)
    return list(groups.values())


def ties_of(copies: Iterable[tuple[str, Collection[Path]]], samples: Collection[Sample]) -> list[Collection[Path]]:
    """The groups of copies that must stay together: all exact ones, and near ones unless they are a scene.

    Frames of a fixed camera are all alike. Kept together they would leave nothing to test on, so that near copies that
    make up more than `SCENE` of a class are taken for different pictures of one scene.
    """
    copies = list(copies)
    scenes = {id(files) for files in scenes_of(copies, samples)}
    return [files for _, files in copies if id(files) not in scenes]


def scenes_of(copies: Iterable[tuple[str, Collection[Path]]], samples: Iterable[Sample]) -> list[Collection[Path]]:
    """The groups of near copies that are too large a part of a class to be kept together."""
    label_of = {sample.path: sample.label for sample in samples}
    total = Counter(label_of.values())
    return [
        files
        for kind, files in copies
        if kind == "near"
        and any(
            count > max(2, SCENE * total[label])
            for label, count in Counter(label_of[path] for path in files if path in label_of).items()
        )
    ]


def units(samples: Iterable[Sample], ties: Iterable[Collection[Path]]) -> list[list[Sample]]:
    """Samples that go together, in the order that they came in; most are alone."""
    unit_of = {sample.path: [sample] for sample in samples}
    for tie in ties:
        parts = {id(unit): unit for unit in (unit_of[path] for path in sorted(tie) if path in unit_of)}
        largest, *others = sorted(parts.values(), key=len, reverse=True) or [[]]
        for unit in others:
            largest += unit
            unit_of |= {sample.path: largest for sample in unit}
    return list({id(unit): unit for unit in unit_of.values()}.values())


def take_fraction(pool: Sequence[list[Sample]], fraction: float) -> tuple[list[Sample], list[Sample]]:
    """The samples that stay, and this share of every class: at least one image, as near as whole units allow."""
    total = Counter(sample.label for unit in pool for sample in unit)
    wanted = {label: max(1, round(count * fraction)) for label, count in total.items()}
    taken: list[list[Sample]] = []
    have: Counter[int] = Counter()
    for unit in pool:
        adds = Counter(sample.label for sample in unit)
        if all(have[label] + count / 2 <= wanted[label] for label, count in adds.items()):
            taken.append(unit)
            have += adds
    for label in total.keys() - have.keys():  # units too large for the share: the smallest will do
        taken.append(min((unit for unit in pool if label in {sample.label for sample in unit}), key=len))
    gone = {id(unit) for unit in taken}
    return (
        [sample for unit in pool if id(unit) not in gone for sample in unit],
        [sample for unit in pool if id(unit) in gone for sample in unit],
    )


def take_fold(pool: Sequence[list[Sample]], folds: int, fold: int) -> tuple[list[Sample], list[Sample]]:
    """The samples that stay, and the given one of so many parts, each with an even share of every class."""
    parts: list[list[Sample]] = [[] for _ in range(folds)]
    have = [Counter[int]() for _ in range(folds)]
    for unit in sorted(pool, key=len, reverse=True):  # the large ones first, while there is room to even them out
        adds = Counter(sample.label for sample in unit)
        crowded = [sum(count * part[label] for label, count in adds.items()) for part in have]
        least = min(range(folds), key=lambda index: (crowded[index], len(parts[index])))
        parts[least] += unit
        have[least] += adds
    return [sample for index, part in enumerate(parts) if index != fold for sample in part], parts[fold]


def require_every_class(splits: Splits, class_names: list[str]) -> None:
    """Raise DataError unless every split has an image of every class."""
    for split, samples in splits.items():
        present = {sample.label for sample in samples}
        for label, name in enumerate(class_names):
            if label not in present:
                raise DataError(
                    f"class {name!r} has too few images to be in the {split} split (copies and groups count as one); "
                    "add images, or lower dataset.folds or dataset.val_fraction and test_fraction"
                )
