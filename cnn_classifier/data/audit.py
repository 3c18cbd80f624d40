"""Check every image once: which cannot be read, and which are copies of each other."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from cnn_classifier.data.cache import Packing
from cnn_classifier.data.duplicates import THUMBNAIL_SIZE, near_duplicates
from cnn_classifier.data.inspection import Inspection, digest_of, inspect
from cnn_classifier.data.ledger import Ledger, open_ledger, state
from cnn_classifier.data.oddities import is_misnamed
from cnn_classifier.data.parallel import parallel_map
from cnn_classifier.data.preprocess import Pixels, Preprocess
from cnn_classifier.errors import DataError

# A check that is interrupted goes on from the last so many images.
REMEMBER_EVERY = 2000


@dataclass(frozen=True)
class Audit:
    """What was found in a set of files.

    Args:
        digests: The SHA-256 of each file's bytes.
        inspections: What each content holds, by digest.
        decoded: How many files were decoded for it; the others are copies, or known from an earlier check.
    """

    digests: Mapping[Path, str] = field(default_factory=dict)
    inspections: Mapping[str, Inspection] = field(default_factory=dict)
    decoded: int = field(default=0, compare=False)

    def __getitem__(self, path: Path) -> Inspection:
        return self.inspections[self.digests[path]]

    def __or__(self, other: "Audit") -> "Audit":
        return Audit(
            {**self.digests, **other.digests},
            {**self.inspections, **other.inspections},
            self.decoded + other.decoded,
        )

    def notes(self, path: Path) -> list[str]:
        """What is odd about a file and yet handled; its name is no part of its content."""
        found = self[path]
        return [*found.notes, *["misnamed"] * is_misnamed(found.format, path)] if not found.reason else []

    @cached_property
    def bad(self) -> dict[Path, str]:
        """The files that cannot be read, and why."""
        reasons = {path: self[path].reason for path in self.digests}
        return {path: reason for path, reason in reasons.items() if reason}


def inspect_files(paths: Sequence[Path], packing: Packing | None = None) -> Audit:
    """Inspect every file that is not known from an earlier check.

    Args:
        paths: The files.
        packing: Where the pixels of what is decoded here go, so that nothing need be decoded twice.

    Raises:
        DataError: If a process that decodes dies.
        StorageError: If the memory of earlier checks is damaged, or the packing's folder cannot be written.
    """
    with open_ledger() as ledger:
        digests = read_digests(paths, ledger)
        contents = set(digests.values())
        inspections = ledger.inspections(contents)
        if packing and len(inspections) < len(contents):
            packing.claim(contents)
            inspections = ledger.inspections(contents)  # while we waited another run may have found them
        first_of: dict[str, Path] = {}  # copies are decoded once
        for path, digest in digests.items():
            if digest not in inspections:
                first_of.setdefault(digest, path)
        look = partial(inspect, preprocess=packing.preprocess if packing and packing.keeps else None)
        found: dict[str, Inspection] = {}
        for path, (inspection, pixels) in parallel_map(look, list(first_of.values()), "checking images"):
            digest = digests[path]
            found[digest] = inspection
            if packing and pixels is not None:
                packing.add(digest, pixels)
            if len(found) == REMEMBER_EVERY:
                ledger.add_inspections(found)
                inspections |= found
                found = {}
        ledger.add_inspections(found)
    return Audit(digests, inspections | found, len(first_of))


def read_digests(paths: Sequence[Path], ledger: Ledger) -> dict[Path, str]:
    """The digest of every file: remembered where the file has not changed since, else from its bytes."""
    digests = ledger.digests(paths)
    new = {path: state(path) for path in paths if path not in digests}
    if new:
        read = dict(parallel_map(digest_of, list(new), "reading images"))
        ledger.add_digests(read, new)
        digests |= read
    return digests


def find_copies(audit: Audit, paths: Iterable[Path]) -> list[tuple[str, list[Path]]]:
    """Groups of readable files that show the same picture.

    Returns:
        For each group its kind and its files: `exact` for the same bytes; `near` for the same picture encoded anew,
        resized or mirrored, together with exact copies of it.
    """
    files: defaultdict[str, list[Path]] = defaultdict(list)
    for path in sorted(paths, key=str):
        if path not in audit.bad:
            files[audit.digests[path]].append(path)
    exact = [("exact", members) for members in files.values() if len(members) > 1]
    near = [
        ("near", sorted(path for digest in group for path in files[digest]))
        for group in near_copies(audit, {digest: members[0] for digest, members in files.items()})
    ]
    return exact + near


def near_copies(audit: Audit, first_of: Mapping[str, Path]) -> list[list[str]]:
    """Groups of digests of different contents that show the same picture, searched for once a set of contents."""
    digests = sorted(first_of)
    if len(digests) < 2:
        return []
    name = hashlib.sha256(" ".join(digests).encode()).hexdigest()
    with open_ledger() as ledger:
        known = ledger.copies(name)
    if known is not None:
        return known
    grey = b"".join(audit.inspections[digest].thumbnail for digest in digests)
    thumbnails = np.frombuffer(grey, np.uint8).reshape(-1, THUMBNAIL_SIZE, THUMBNAIL_SIZE)
    confirm = Preprocess(image_size=64, channels=3, resize="squash", mean=(0.0,), std=(1.0,))

    lost: list[int] = []

    def load(index: int) -> Pixels:
        try:
            return confirm.load(first_of[digests[index]])
        except DataError:
            lost.append(index)
            raise

    groups = [[digests[index] for index in group] for group in near_duplicates(thumbnails, load)]
    if not lost:  # otherwise a file that can be read tomorrow would never be compared
        with open_ledger() as ledger:
            ledger.add_copies(name, groups)
    return groups
