"""Check every image once: which cannot be read, and which are copies of each other."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from cnn_classifier.data.checks.check_cache import CheckCache, file_state, open_check_cache
from cnn_classifier.data.checks.image_info import ImageInfo, compute_digest, is_misnamed, read_image_info
from cnn_classifier.data.checks.near_duplicates import THUMBNAIL_SIZE, group_near_duplicates
from cnn_classifier.data.images.preprocess import Pixels, Preprocess
from cnn_classifier.data.loading.pixel_cache import PixelCacheWriter
from cnn_classifier.data.parallel import parallel_map
from cnn_classifier.errors import DataError

# A check that is interrupted goes on from the last so many images.
SAVE_EVERY_N_IMAGES = 2000


@dataclass(frozen=True)
class CheckResult:
    """What was found in a set of files.

    Args:
        digests: The SHA-256 of each file's bytes.
        inspections: What each content holds, by digest.
        decoded: How many files were decoded for it; the others are copies, or known from an earlier check.
    """

    digests: Mapping[Path, str] = field(default_factory=dict)
    image_infos: Mapping[str, ImageInfo] = field(default_factory=dict)
    num_decoded: int = field(default=0, compare=False)

    def __getitem__(self, path: Path) -> ImageInfo:
        return self.image_infos[self.digests[path]]

    def __or__(self, other: "CheckResult") -> "CheckResult":
        return CheckResult(
            {**self.digests, **other.digests},
            {**self.image_infos, **other.image_infos},
            self.num_decoded + other.num_decoded,
        )

    def get_warnings(self, path: Path) -> list[str]:
        """What is odd about a file and yet handled; its name is no part of its content."""
        info = self[path]
        return [*info.warnings, *["misnamed"] * is_misnamed(info.format, path)] if not info.decode_error else []

    @cached_property
    def unreadable(self) -> dict[Path, str]:
        """The files that cannot be read, and why."""
        reasons = {path: self[path].decode_error for path in self.digests}
        return {path: reason for path, reason in reasons.items() if reason}


def inspect_files(paths: Sequence[Path], cache_writer: PixelCacheWriter | None = None) -> CheckResult:
    """Inspect every file that is not known from an earlier check.

    Args:
        paths: The files.
        packing: Where the pixels of what is decoded here go, so that nothing need be decoded twice.

    Raises:
        DataError: If a process that decodes dies.
        StorageError: If the memory of earlier checks is damaged, or the packing's folder cannot be written.
    """
    with open_check_cache() as check_cache:
        digests = read_digests(paths, check_cache)
        unique_digests = set(digests.values())
        image_infos = check_cache.get_image_infos(unique_digests)
        if cache_writer and len(image_infos) < len(unique_digests):
            cache_writer.acquire(unique_digests)
            image_infos = check_cache.get_image_infos(unique_digests)  # while we waited another run may have found them
        first_path: dict[str, Path] = {}  # copies are decoded once
        for path, digest in digests.items():
            if digest not in image_infos:
                first_path.setdefault(digest, path)
        read_info = partial(
            read_image_info, preprocess=cache_writer.preprocess if cache_writer and cache_writer.enabled else None
        )
        new_infos: dict[str, ImageInfo] = {}
        for path, (info, pixels) in parallel_map(read_info, list(first_path.values()), "checking images"):
            digest = digests[path]
            new_infos[digest] = info
            if cache_writer and pixels is not None:
                cache_writer.add(digest, pixels)
            if len(new_infos) == SAVE_EVERY_N_IMAGES:
                check_cache.add_image_infos(new_infos)
                image_infos |= new_infos
                new_infos = {}
        check_cache.add_image_infos(new_infos)
    return CheckResult(digests, image_infos | new_infos, len(first_path))


def read_digests(paths: Sequence[Path], check_cache: CheckCache) -> dict[Path, str]:
    """The digest of every file: remembered where the file has not changed since, else from its bytes."""
    digests = check_cache.get_digests(paths)
    new_states = {path: file_state(path) for path in paths if path not in digests}
    if new_states:
        computed = dict(parallel_map(compute_digest, list(new_states), "reading images"))
        check_cache.add_digests(computed, new_states)
        digests |= computed
    return digests


def find_duplicates(check_result: CheckResult, paths: Iterable[Path]) -> list[tuple[str, list[Path]]]:
    """Groups of readable files that show the same picture.

    Returns:
        For each group its kind and its files: `exact` for the same bytes; `near` for the same picture encoded anew,
        resized or mirrored, together with exact copies of it.
    """
    paths_by_digest: defaultdict[str, list[Path]] = defaultdict(list)
    for path in sorted(paths, key=str):
        if path not in check_result.unreadable:
            paths_by_digest[check_result.digests[path]].append(path)
    exact = [("exact", members) for members in paths_by_digest.values() if len(members) > 1]
    near = [
        ("near", sorted(path for digest in group for path in paths_by_digest[digest]))
        for group in find_near_duplicates(
            check_result, {digest: members[0] for digest, members in paths_by_digest.items()}
        )
    ]
    return exact + near


def find_near_duplicates(check_result: CheckResult, first_path: Mapping[str, Path]) -> list[list[str]]:
    """Groups of digests of different contents that show the same picture, searched for once a set of contents."""
    digests = sorted(first_path)
    if len(digests) < 2:
        return []
    digests_hash = hashlib.sha256(" ".join(digests).encode()).hexdigest()
    with open_check_cache() as check_cache:
        cached = check_cache.get_duplicate_groups(digests_hash)
    if cached is not None:
        return cached
    gray = b"".join(check_result.image_infos[digest].thumbnail for digest in digests)
    thumbnails = np.frombuffer(gray, np.uint8).reshape(-1, THUMBNAIL_SIZE, THUMBNAIL_SIZE)
    preprocess = Preprocess(image_size=64, channels=3, resize="stretch", mean=(0.0,), std=(1.0,))

    failed: list[int] = []

    def load(index: int) -> Pixels:
        try:
            return preprocess.load(first_path[digests[index]])
        except DataError:
            failed.append(index)
            raise

    groups = [[digests[index] for index in group] for group in group_near_duplicates(thumbnails, load)]
    if not failed:  # otherwise a file that can be read tomorrow would never be compared
        with open_check_cache() as check_cache:
            check_cache.add_duplicate_groups(digests_hash, groups)
    return groups
