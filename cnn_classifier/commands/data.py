"""`data check` and `data clean`: what is wrong with a set of images, and what the cache holds."""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from cnn_classifier.data.audit import find_copies, inspect_files
from cnn_classifier.data.lock import is_held
from cnn_classifier.data.options import DatasetOptions
from cnn_classifier.data.source import name_of, scan_source
from cnn_classifier.data.split_file import relative_name
from cnn_classifier.data.summary import summarise
from cnn_classifier.errors import DataError, StorageError
from cnn_classifier.storage import CONF_DIR, cache_home

SAMPLES_A_CLASS = 12
# The folders of the cache: decoded pixels, unpacked or generated images, archives on their way.
CACHED = ("packed", "datasets", "downloads")


def add_words(commands: Any) -> None:
    """Add `data check` and `data clean` to the command line.

    Args:
        commands: argparse's sub-parsers.
    """
    data = commands.add_parser("data", help="check images, or free the cache").add_subparsers(
        required=True, metavar="check|clean"
    )
    check = data.add_parser("check", help="find unreadable files, copies, leaks and odd images")
    check.add_argument(
        "source",
        metavar="SOURCE",
        help="a folder, zip, tar, CSV, address, or name of a data set",
    )
    check.add_argument("--json", action="store_true", help="print what was found as JSON")
    check.add_argument("--out", metavar="HTML", type=Path, help="the page (default outputs/data/NAME/data.html)")
    check.set_defaults(command=check_command)
    clean = data.add_parser("clean", help="show what the cache holds; with --yes, free it")
    clean.add_argument("--only", metavar="KIND", choices=list(CACHED), help=" | ".join(CACHED))
    clean.add_argument("--yes", action="store_true", help="delete it")
    clean.set_defaults(command=clean_command)


def check_command(arguments: argparse.Namespace) -> int:
    """Check every image of a source; print the table or JSON, write the page."""
    from cnn_classifier.report.data_page import write_data_page

    options = options_of(arguments.source)
    scan = scan_source(options)
    started = time.perf_counter()
    audit = inspect_files([sample.path for sample in scan.samples])
    summary = summarise(scan, audit, find_copies(audit, audit.digests))
    seconds = time.perf_counter() - started
    summary |= {
        "source": arguments.source,
        "seconds": round(seconds, 2),
        "images_per_second": round(audit.decoded / seconds, 1),
    }
    beside = sys.stderr if arguments.json else sys.stdout
    print(table(summary), file=beside)
    if arguments.json:
        print(json.dumps(summary, ensure_ascii=False))
    page = arguments.out or page_of(arguments.source)
    samples: dict[str, list[str]] = {name: [] for name in scan.class_names}
    for sample in scan.samples:
        samples[scan.class_names[sample.label]].append(relative_name(sample.path, scan))
    write_data_page(
        page,
        summary,
        root=scan.root,
        samples={
            name: paths[:: max(1, len(paths) // SAMPLES_A_CLASS)][:SAMPLES_A_CLASS] for name, paths in samples.items()
        },
    )
    print(f"\nsee {page}", file=beside)
    if len(summary["bad"]) == len(audit.digests):
        raise DataError(f"{arguments.source}: none of the {len(audit.digests)} images can be read")
    return 0


def options_of(source: str) -> DatasetOptions:
    """The options of a named data set, or of the folder, archive, CSV or address that the word is."""
    names = [path.stem for path in (CONF_DIR / "dataset").glob("*.yaml")]
    if source in names and not Path(source).exists():
        from cnn_classifier.config import load, plain

        return DatasetOptions(**plain(load([f"dataset={source}"]).dataset))
    return DatasetOptions(source=source)


def page_of(source: str) -> Path:
    """Where the page goes unless told otherwise."""
    return Path("outputs", "data", name_of(source), "data.html")


def table(summary: Mapping[str, Any]) -> str:
    """What was found, in lines for a terminal: the numbers first, then what is wrong, then what to do."""
    counts = ", ".join(f"{name} {count}" for name, count in list(summary["classes"].items())[:20])
    rows = [
        ("images", f"{summary['images']} in {len(summary['classes'])} classes: {counts}"),
        ("splits", " · ".join(f"{name} {sum(classes.values())}" for name, classes in summary["splits"].items())),
        ("imbalance", f"{summary['imbalance']:g} to 1"),
        *((side, f"{v['min']} to {v['max']} pixels, median {v['median']:g}") for side, v in summary["sizes"].items()),
        ("unreadable", str(len(summary["bad"]))),
        *(("", f"{bad['path']}: {bad['reason']}") for bad in summary["bad"][:10]),
        *(("odd", f"{found['count']} {note}: {found['treatment']}") for note, found in summary["notes"].items()),
        *(("copies", line) for line in copies_lines(summary)),
        ("ignored", ", ".join(f"{count} {extension}" for extension, count in summary["ignored"].items())),
        *(("suggestion", line) for line in summary["suggestions"]),
        ("checked", f"in {summary['seconds']:.1f} s, {speed(summary)}"),
    ]
    return "\n".join(f"{label:12}{text}" for label, text in rows if text)


def speed(summary: Mapping[str, Any]) -> str:
    rate = summary["images_per_second"]
    return f"{rate:.0f} images/s" if rate else "all known from an earlier check"


def copies_lines(summary: Mapping[str, Any]) -> Iterator[str]:
    """How many groups of copies of each kind, then the worst of them."""
    groups = summary["duplicates"]
    for kind in ("exact", "near"):
        found = [group for group in groups if group["kind"] == kind]
        yield f"{len(found)} {kind} groups, {sum(len(group['paths']) for group in found)} files"
    serious = [group for group in groups if len(group["classes"]) > 1 or len(group["splits"]) > 1]
    for group in serious[:5]:
        what = "in several classes" if len(group["classes"]) > 1 else "in several splits"
        yield f"{what}: {', '.join(group['paths'][:4])}"


def clean_command(arguments: argparse.Namespace) -> int:
    """Show every entry of the cache with its size and last use; delete them with --yes, but for what is being made."""
    total = 0
    for kind in [arguments.only] if arguments.only else CACHED:
        for entry in sorted((cache_home() / kind).iterdir()) if (cache_home() / kind).is_dir() else ():
            size, kept = size_of(entry), in_use(entry)
            total += 0 if kept else size
            used = datetime.fromtimestamp(entry.lstat().st_mtime).strftime("%Y-%m-%d")
            if size:  # locks are empty
                print(f"{size / 1e6:10.1f} MB  last used {used}  {kind}/{entry.name}{', in use' * kept}")
            if arguments.yes and not kept:
                remove(entry)
    print(f"{total / 1e6:10.1f} MB  {'freed' if arguments.yes else 'in all'} in {cache_home()}")
    if total and not arguments.yes:
        only = f" --only {arguments.only}" if arguments.only else ""
        print(f"free it with: cnn-classifier data clean{only} --yes")
    return 0


def in_use(entry: Path) -> bool:
    """Whether a run is making this, or something in it."""
    return is_held(entry) or any(is_held(lock) for lock in entry.glob("*.lock"))


def remove(entry: Path) -> None:
    """Delete a file or folder of the cache; of a link the link alone."""
    try:
        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    except OSError as error:  # Windows keeps what is in use
        told = error.strerror or error
        raise StorageError(f"{entry} cannot be deleted ({told}); end the run that uses it") from error


def size_of(entry: Path) -> int:
    """The bytes of a file or link, or of all files below a folder."""
    below = entry.rglob("*") if entry.is_dir() and not entry.is_symlink() else [entry]
    return sum(file.lstat().st_size for file in below if file.is_symlink() or file.is_file())
