"""Plant copies among real photos and measure how many of them are found.

    python scripts/measure_duplicates.py FOLDER --limit 5000 --sheet joined.png

Prints a Markdown table. Pictures that are joined though neither was planted are copies that the folder had all along,
or mistakes: the sheet draws them side by side for the eye to decide.
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

from cnn_classifier.data.audit import find_copies, inspect_files
from cnn_classifier.data.folder import scan_root
from cnn_classifier.data.options import DatasetOptions
from cnn_classifier.data.preprocess import Preprocess
from cnn_classifier.data.split import split_samples

TILE = 128
COLUMNS = 5


def copied(source: Path, target: Path, draw: np.random.Generator) -> None:
    shutil.copy(source, target)


def encoded_anew(source: Path, target: Path, draw: np.random.Generator) -> None:
    Image.open(source).convert("RGB").save(target, quality=int(draw.integers(40, 91)))


def resized(source: Path, target: Path, draw: np.random.Generator) -> None:
    image, scale = Image.open(source).convert("RGB"), draw.uniform(0.4, 1.6)
    image.resize((round(image.width * scale), round(image.height * scale))).save(target, quality=90)


def mirrored(source: Path, target: Path, draw: np.random.Generator) -> None:
    ImageOps.mirror(Image.open(source).convert("RGB")).save(target, quality=90)


KINDS: dict[str, tuple[int, Callable[[Path, Path, np.random.Generator], None]]] = {
    "exact": (100, copied),
    "encoded anew, quality 40 to 90": (100, encoded_anew),
    "resized, 0.4 to 1.6 times": (100, resized),
    "mirrored": (100, mirrored),
    "exact, in another class": (50, copied),
}


def plant(folder: Path, originals: Sequence[Path]) -> dict[Path, tuple[Path, str]]:
    """Write copies below `folder`, each of another original: the original and the kind of each copy."""
    draw = np.random.default_rng(0)
    sources = iter(draw.permutation(len(originals)))
    planted: dict[Path, tuple[Path, str]] = {}
    for kind, (count, make) in KINDS.items():
        for index in range(count):
            source = originals[next(sources)]
            others = sorted(path.name for path in folder.iterdir() if path.name != source.parent.name)
            class_name = others[0] if kind == "exact, in another class" else source.parent.name
            target = folder / class_name / f"{kind.split(',')[0]} {len(planted)} {index}.jpg"
            make(source, target, draw)
            planted[target] = source, kind
    return planted


def draw_sheet(groups: Sequence[Sequence[Path]], target: Path) -> None:
    """Draw the first pictures of each group in a row of its own."""
    small = Preprocess(image_size=TILE, channels=3, resize="pad", mean=(0.0,), std=(1.0,))
    sheet = Image.new("RGB", (COLUMNS * TILE, len(groups) * TILE), "white")
    for row, group in enumerate(groups):
        for column, path in enumerate(group[:COLUMNS]):
            sheet.paste(Image.fromarray(small.load(path)), (column * TILE, row * TILE))
    sheet.save(target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="photos in class folders")
    parser.add_argument("--limit", type=int, default=5000, help="take at most so many of them")
    parser.add_argument("--sheet", type=Path, help="draw what is joined although it was not planted")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["CNN_CLASSIFIER_HOME"] = str(Path(temporary, "home"))
        measure(words.folder, words.limit, words.sheet, Path(temporary, "photos"))


def measure(source: Path, limit: int, sheet: Path | None, folder: Path) -> None:
    scan = scan_root(source)
    originals = []
    for index, sample in enumerate(scan.samples[:: -(-len(scan.samples) // limit)]):
        original = folder / scan.class_names[sample.label] / f"{index:05d}{sample.path.suffix}"
        original.parent.mkdir(parents=True, exist_ok=True)
        originals.append(Path(shutil.copy(sample.path, original)))
    planted = plant(folder, originals)

    scan = scan_root(folder)
    paths = [sample.path for sample in scan.samples]
    started = time.perf_counter()
    audit = inspect_files(paths)
    inspected = time.perf_counter()
    copies = find_copies(audit, paths)
    ended = time.perf_counter()

    group_of: dict[Path, set[Path]] = {path: {path} for path in paths}
    for _, files in copies:
        for path in files:
            group_of[path] = group_of[path] | set(files)
    splits = split_samples(scan, DatasetOptions(), seed=0, ties=[files for _, files in copies])
    side = {sample.path: split for split, samples in splits.items() for sample in samples}

    print("| copies | planted | found | on the other side of a split |\n| --- | --- | --- | --- |")
    for kind, (count, _) in KINDS.items():
        pairs = [(copy, original) for copy, (original, made) in planted.items() if made == kind]
        found = sum(original in group_of[copy] for copy, original in pairs)
        torn = sum(side[copy] != side[original] for copy, original in pairs if original in group_of[copy])
        print(f"| {kind} | {count} | {found} | {torn} |")

    def origin(path: Path) -> Path:
        return planted[path][0] if path in planted else path

    joined = {frozenset(origin(path) for path in files) for _, files in copies}
    unplanted = sorted(sorted(group) for group in joined if len(group) > 1)
    joined_pairs = Counter(len({origin(a), origin(b)}) for _, files in copies for a, b in combinations(files, 2))
    print(f"\n{joined_pairs.total()} pairs joined, {joined_pairs[2]} of them of different files of the folder.")
    print(f"{len(paths)} files on {os.cpu_count()} cores, Python {platform.python_version()}: ", end="")
    print(f"inspected in {inspected - started:.1f} s, copies found in {ended - inspected:.1f} s")
    if sheet and unplanted:
        draw_sheet(unplanted, sheet)


if __name__ == "__main__":
    main()
