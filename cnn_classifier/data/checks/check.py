"""Inspection of image files: digests, decode errors, and exact and near duplicates."""

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
from cnn_classifier.data.checks.value_range import combine_limits
from cnn_classifier.data.images.preprocess import Pixels, Preprocess
from cnn_classifier.data.images.wide import ValueRange
from cnn_classifier.data.loading.pixel_cache import PixelCacheWriter
from cnn_classifier.data.parallel import parallel_map
from cnn_classifier.errors import DataError

# An interrupted check resumes from the last save.
SAVE_EVERY_N_IMAGES = 2000


@dataclass(frozen=True)
class CheckResult:
    """The result of inspecting a set of files.

    Args:
        digests: The SHA-256 digest of each file's bytes.
        image_infos: The `ImageInfo` of each distinct content, by digest.
        num_decoded: The number of files decoded by this check. The others are duplicates or were cached.
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
        """Return the warnings for a readable file, including `misnamed`, which depends on the path."""
        info = self[path]
        return [*info.warnings, *["misnamed"] * is_misnamed(info.format, path)] if not info.decode_error else []

    @cached_property
    def sizes(self) -> list[tuple[int, int]]:
        """The width and height of each readable file, in pixels."""
        return [(self[path].width, self[path].height) for path in self.digests if not self[path].decode_error]

    def get_value_limits(self, paths: Iterable[Path] | None = None) -> list[ValueRange | None]:
        """Return the limits of the values of readable files, all if not given; None for a file with 8 bits."""
        files = self.digests if paths is None else paths
        return [self[path].value_limits for path in files if not self[path].decode_error]

    def measure_value_range(self, paths: Iterable[Path] = ()) -> ValueRange | None:
        """Return the range of values of files, or of all files if none of these has more than 8 bits per channel."""
        return combine_limits(self.get_value_limits(paths)) or combine_limits(self.get_value_limits())

    @cached_property
    def unreadable(self) -> dict[Path, str]:
        """The files that cannot be decoded, with the reason."""
        errors = {path: self[path].decode_error for path in self.digests}
        return {path: error for path, error in errors.items() if error}


def inspect_files(paths: Sequence[Path], cache_writer: PixelCacheWriter | None = None) -> CheckResult:
    """Inspect files; results of earlier checks are reused.

    Args:
        paths: The files to inspect.
        cache_writer: The writer that receives the pixels of every file decoded here, so that no file is decoded twice.

    Returns:
        The result for all files. Files with identical bytes are decoded once.

    Raises:
        DataError: If a decoding process dies.
        StorageError: If the check cache is damaged, or the directory of the pixel cache cannot be written.
    """
    with open_check_cache() as check_cache:
        digests = read_digests(paths, check_cache)
        unique_digests = set(digests.values())
        image_infos = check_cache.get_image_infos(unique_digests)
        if cache_writer and len(image_infos) < len(unique_digests):
            cache_writer.acquire(unique_digests)
            # Another run may have inspected these files while this one waited for the lock.
            image_infos = check_cache.get_image_infos(unique_digests)
        first_path: dict[str, Path] = {}
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
    """Return the digest of every file, from the cache if the file has not changed, otherwise from its bytes."""
    digests = check_cache.get_digests(paths)
    new_states = {path: file_state(path) for path in paths if path not in digests}
    if new_states:
        computed = dict(parallel_map(compute_digest, list(new_states), "reading images"))
        check_cache.add_digests(computed, new_states)
        digests |= computed
    return digests


def find_duplicates(check_result: CheckResult, paths: Iterable[Path]) -> list[tuple[str, list[Path]]]:
    """Group readable files that show the same image.

    Args:
        check_result: The result of `inspect_files` for these files.
        paths: The files to compare.

    Returns:
        A pair (kind, files) for each group. The kind is `exact` for files with identical bytes, and `near` for an image
        that was re-encoded, resized or mirrored; a `near` group also contains the exact duplicates of its files.
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
    """Group distinct contents that show the same image; the groups are cached for each set of contents.

    Args:
        check_result: The result of `inspect_files`, which holds the thumbnails.
        first_path: One file for each digest to compare.

    Returns:
        The digests of each group.
    """
    digests = sorted(first_path)
    if len(digests) < 2:
        return []
    digests_hash = hashlib.sha256(" ".join(digests).encode()).hexdigest()
    with open_check_cache() as check_cache:
        cached = check_cache.get_duplicate_groups(digests_hash)
    if cached is not None:
        return cached
    thumbnail_bytes = b"".join(check_result.image_infos[digest].thumbnail for digest in digests)
    thumbnails = np.frombuffer(thumbnail_bytes, np.uint8).reshape(-1, THUMBNAIL_SIZE, THUMBNAIL_SIZE)
    value_range = combine_limits([check_result.image_infos[digest].value_limits for digest in digests])
    preprocess = Preprocess(
        image_size=64, channels=3, resize="stretch", mean=(0.0,), std=(1.0,), value_range=value_range
    )

    failed_indices: list[int] = []

    def load(index: int) -> Pixels:
        try:
            return preprocess.load(first_path[digests[index]])
        except DataError:
            failed_indices.append(index)
            raise

    groups = [[digests[index] for index in group] for group in group_near_duplicates(thumbnails, load)]
    if not failed_indices:  # a cached result would exclude these files from all later comparisons
        with open_check_cache() as check_cache:
            check_cache.add_duplicate_groups(digests_hash, groups)
    return groups
