"""Measure the recall of duplicate detection on copies planted among real photos.

    python scripts/measure_duplicates.py FOLDER --limit 5000 --sheet matches.png

Prints a Markdown table. Matches between photos that were not planted are either duplicates that the folder already
contained or false positives; the sheet shows them side by side for visual inspection.
"""

import argparse
import os
import platform
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from cnn_classifier.data.checks.check import find_duplicates, inspect_files
from cnn_classifier.data.config import DatasetConfig
from cnn_classifier.data.images.preprocess import Preprocess
from cnn_classifier.data.sources.folder import scan_root
from cnn_classifier.data.splits.split import split_samples

TILE_SIZE = 128
NUM_COLUMNS = 5


def copy_file(source: Path, target: Path, rng: np.random.Generator) -> None:
    """Copy a file unchanged."""
    shutil.copy(source, target)


def reencode(source: Path, target: Path, rng: np.random.Generator) -> None:
    """Save an image with a random JPEG quality."""
    Image.open(source).convert("RGB").save(target, quality=int(rng.integers(40, 91)))


def resize(source: Path, target: Path, rng: np.random.Generator) -> None:
    """Save an image scaled by a random factor."""
    image, scale = Image.open(source).convert("RGB"), rng.uniform(0.4, 1.6)
    image.resize((round(image.width * scale), round(image.height * scale))).save(target, quality=90)


def mirror(source: Path, target: Path, rng: np.random.Generator) -> None:
    """Save an image flipped horizontally."""
    ImageOps.mirror(Image.open(source).convert("RGB")).save(target, quality=90)


COPY_KINDS: dict[str, tuple[int, Callable[[Path, Path, np.random.Generator], None]]] = {
    "exact": (100, copy_file),
    "re-encoded, quality 40 to 90": (100, reencode),
    "resized, 0.4 to 1.6 times": (100, resize),
    "mirrored": (100, mirror),
    "exact, in another class": (50, copy_file),
}


def plant_copies(folder: Path, originals: Sequence[Path]) -> dict[Path, tuple[Path, str]]:
    """Write copies of different originals into the class folders.

    Args:
        folder: The folder that contains the class folders.
        originals: The paths of the photos.

    Returns:
        The original and the kind of each copy, by the path of the copy.
    """
    num_copies = sum(count for count, _ in COPY_KINDS.values())
    if len(originals) < num_copies:
        raise SystemExit(f"Cannot plant {num_copies} copies of {len(originals)} photos: use a larger folder or --limit")
    rng = np.random.default_rng(0)
    sources = iter(rng.permutation(len(originals)))
    planted_copies: dict[Path, tuple[Path, str]] = {}
    for kind, (count, make_copy) in COPY_KINDS.items():
        for index in range(count):
            source = originals[next(sources)]
            others = sorted(path.name for path in folder.iterdir() if path.name != source.parent.name)
            class_name = others[0] if kind == "exact, in another class" else source.parent.name
            target = folder / class_name / f"{kind.split(',')[0]} {len(planted_copies)} {index}.jpg"
            make_copy(source, target, rng)
            planted_copies[target] = source, kind
    return planted_copies


def draw_sheet(groups: Sequence[Sequence[Path]], target: Path) -> None:
    """Draw the first images of each group in one row."""
    preprocess = Preprocess(image_size=TILE_SIZE, channels=3, resize="pad", mean=(0.0,), std=(1.0,))
    sheet = Image.new("RGB", (NUM_COLUMNS * TILE_SIZE, len(groups) * TILE_SIZE), "white")
    for row, group in enumerate(groups):
        for column, path in enumerate(group[:NUM_COLUMNS]):
            sheet.paste(Image.fromarray(preprocess.load(path)), (column * TILE_SIZE, row * TILE_SIZE))
    sheet.save(target)


def main() -> None:
    """Parse the arguments and measure in a temporary folder with an empty cache."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a folder of photos in class folders")
    parser.add_argument("--limit", type=int, default=5000, help="the maximum number of photos (default: 5000)")
    parser.add_argument("--sheet", type=Path, help="an image file for matches that were not planted")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["CNN_CLASSIFIER_HOME"] = str(Path(temporary, "home"))
        measure(arguments.folder, arguments.limit, arguments.sheet, Path(temporary, "photos"))


def measure(source: Path, limit: int, sheet: Path | None, folder: Path) -> None:
    """Copy photos into a folder, plant copies, and print how many are found."""
    scan = scan_root(source)
    originals = []
    for index, sample in enumerate(scan.samples[:: -(-len(scan.samples) // limit)]):
        original = folder / scan.class_names[sample.label] / f"{index:05d}{sample.path.suffix}"
        original.parent.mkdir(parents=True, exist_ok=True)
        originals.append(Path(shutil.copy(sample.path, original)))
    planted = plant_copies(folder, originals)

    scan = scan_root(folder)
    paths = [sample.path for sample in scan.samples]
    start_time = time.perf_counter()
    audit = inspect_files(paths)
    inspected_time = time.perf_counter()
    duplicate_groups = find_duplicates(audit, paths)
    end_time = time.perf_counter()

    group_by_path: dict[Path, set[Path]] = {path: {path} for path in paths}
    for _, files in duplicate_groups:
        for path in files:
            group_by_path[path] = group_by_path[path] | set(files)
    splits = split_samples(scan, DatasetConfig(), seed=0, linked=[files for _, files in duplicate_groups])
    split_by_path = {sample.path: split for split, samples in splits.items() for sample in samples}

    print("| copies | planted | found | found, but in another split |\n| --- | --- | --- | --- |")
    for kind, (count, _) in COPY_KINDS.items():
        pairs = [(copy, original) for copy, (original, copy_kind) in planted.items() if copy_kind == kind]
        num_found = sum(original in group_by_path[copy] for copy, original in pairs)
        num_split = sum(
            split_by_path[copy] != split_by_path[original]
            for copy, original in pairs
            if original in group_by_path[copy]
        )
        print(f"| {kind} | {count} | {num_found} | {num_split} |")

    def find_original(path: Path) -> Path:
        return planted[path][0] if path in planted else path

    matched_groups = {frozenset(find_original(path) for path in files) for _, files in duplicate_groups}
    unplanted = sorted(sorted(group) for group in matched_groups if len(group) > 1)
    matched_pairs = Counter(
        len({find_original(a), find_original(b)}) for _, files in duplicate_groups for a, b in combinations(files, 2)
    )
    print(f"\n{matched_pairs.total()} matched pairs, {matched_pairs[2]} of them between different original photos.")
    print(f"{len(paths)} files on {os.cpu_count()} cores, Python {platform.python_version()}: ", end="")
    print(f"inspected in {inspected_time - start_time:.1f} s, duplicates found in {end_time - inspected_time:.1f} s")
    if sheet and unplanted:
        draw_sheet(unplanted, sheet)


if __name__ == "__main__":
    main()
