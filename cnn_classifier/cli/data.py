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

from cnn_classifier.config.paths import CONF_DIR
from cnn_classifier.data.checks.check import find_duplicates, inspect_files
from cnn_classifier.data.checks.summary import summarize
from cnn_classifier.data.config import DatasetConfig
from cnn_classifier.data.sources.resolve import scan_source, source_name
from cnn_classifier.data.splits.split_csv import relative_name
from cnn_classifier.errors import DataError, StorageError
from cnn_classifier.files import cache_dir, is_locked

SAMPLES_PER_CLASS = 12
# The folders of the cache: decoded pixels, unpacked or generated images, archives on their way.
CACHE_DIRS = ("packed", "datasets", "downloads")


def add_parser(subparsers: Any) -> None:
    """Add `data check` and `data clean` to the command line.

    Args:
        commands: argparse's sub-parsers.
    """
    data_parsers = subparsers.add_parser("data", help="check images, or free the cache").add_subparsers(
        required=True, metavar="check|clean"
    )
    check_parser = data_parsers.add_parser("check", help="find unreadable files, copies, leaks and odd images")
    check_parser.add_argument(
        "source",
        metavar="SOURCE",
        help="a folder, zip, tar, CSV, address, or name of a data set",
    )
    check_parser.add_argument("--json", action="store_true", help="print what was found as JSON")
    check_parser.add_argument("--out", metavar="HTML", type=Path, help="the page (default outputs/data/NAME/data.html)")
    check_parser.set_defaults(command=run_check)
    clean_parser = data_parsers.add_parser("clean", help="show what the cache holds; with --yes, free it")
    clean_parser.add_argument("--only", metavar="KIND", choices=list(CACHE_DIRS), help=" | ".join(CACHE_DIRS))
    clean_parser.add_argument("--yes", action="store_true", help="delete it")
    clean_parser.set_defaults(command=run_clean)


def run_check(arguments: argparse.Namespace) -> int:
    """Check every image of a source; print the table or JSON, write the page."""
    from cnn_classifier.report.pages.data_check import write_data_page

    dataset_config = dataset_config_for(arguments.source)
    scan = scan_source(dataset_config)
    start_time = time.perf_counter()
    audit = inspect_files([sample.path for sample in scan.samples])
    summary = summarize(scan, audit, find_duplicates(audit, audit.digests))
    seconds = time.perf_counter() - start_time
    summary |= {
        "source": arguments.source,
        "seconds": round(seconds, 2),
        "images_per_second": round(audit.num_decoded / seconds, 1),
    }
    stream = sys.stderr if arguments.json else sys.stdout
    print(format_summary(summary), file=stream)
    if arguments.json:
        print(json.dumps(summary, ensure_ascii=False))
    page_path = arguments.out or default_page(arguments.source)
    samples: dict[str, list[str]] = {name: [] for name in scan.class_names}
    for sample in scan.samples:
        samples[scan.class_names[sample.label]].append(relative_name(sample.path, scan))
    write_data_page(
        page_path,
        summary,
        root=scan.root,
        samples={
            name: paths[:: max(1, len(paths) // SAMPLES_PER_CLASS)][:SAMPLES_PER_CLASS]
            for name, paths in samples.items()
        },
    )
    print(f"\nsee {page_path}", file=stream)
    if len(summary["bad"]) == len(audit.digests):
        raise DataError(f"{arguments.source}: none of the {len(audit.digests)} images can be read")
    return 0


def dataset_config_for(source: str) -> DatasetConfig:
    """The options of a named data set, or of the folder, archive, CSV or address that the word is."""
    names = [path.stem for path in (CONF_DIR / "dataset").glob("*.yaml")]
    if source in names and not Path(source).exists():
        from cnn_classifier.config.compose import load_config, to_container

        return DatasetConfig(**to_container(load_config([f"dataset={source}"]).dataset))
    return DatasetConfig(source=source)


def default_page(source: str) -> Path:
    """Where the page goes unless told otherwise."""
    return Path("outputs", "data", source_name(source), "data.html")


def format_summary(summary: Mapping[str, Any]) -> str:
    """What was found, in lines for a terminal: the numbers first, then what is wrong, then what to do."""
    counts = ", ".join(f"{name} {count}" for name, count in list(summary["classes"].items())[:20])
    rows = [
        ("images", f"{summary['images']} in {len(summary['classes'])} classes: {counts}"),
        ("splits", " · ".join(f"{name} {sum(classes.values())}" for name, classes in summary["splits"].items())),
        ("imbalance", f"{summary['imbalance']:g} to 1"),
        *((side, f"{v['min']} to {v['max']} pixels, median {v['median']:g}") for side, v in summary["sizes"].items()),
        ("unreadable", str(len(summary["bad"]))),
        *(("", f"{bad['path']}: {bad['reason']}") for bad in summary["bad"][:10]),
        *(("odd", f"{entry['count']} {note}: {entry['treatment']}") for note, entry in summary["notes"].items()),
        *(("copies", line) for line in duplicate_lines(summary)),
        ("ignored", ", ".join(f"{count} {extension}" for extension, count in summary["ignored"].items())),
        *(("suggestion", line) for line in summary["suggestions"]),
        ("checked", f"in {summary['seconds']:.1f} s, {format_speed(summary)}"),
    ]
    return "\n".join(f"{label:12}{text}" for label, text in rows if text)


def format_speed(summary: Mapping[str, Any]) -> str:
    rate = summary["images_per_second"]
    return f"{rate:.0f} images/s" if rate else "all known from an earlier check"


def duplicate_lines(summary: Mapping[str, Any]) -> Iterator[str]:
    """How many groups of copies of each kind, then the worst of them."""
    groups = summary["duplicates"]
    for kind in ("exact", "near"):
        matching = [group for group in groups if group["kind"] == kind]
        yield f"{len(matching)} {kind} groups, {sum(len(group['paths']) for group in matching)} files"
    serious = [group for group in groups if len(group["classes"]) > 1 or len(group["splits"]) > 1]
    for group in serious[:5]:
        location = "in several classes" if len(group["classes"]) > 1 else "in several splits"
        yield f"{location}: {', '.join(group['paths'][:4])}"


def run_clean(arguments: argparse.Namespace) -> int:
    """Show every entry of the cache with its size and last use; delete them with --yes, but for what is being made."""
    total_bytes = 0
    for kind in [arguments.only] if arguments.only else CACHE_DIRS:
        for entry in sorted((cache_dir() / kind).iterdir()) if (cache_dir() / kind).is_dir() else ():
            size, is_busy = get_size(entry), is_in_use(entry)
            total_bytes += 0 if is_busy else size
            last_used = datetime.fromtimestamp(entry.lstat().st_mtime).strftime("%Y-%m-%d")
            if size:  # locks are empty
                print(f"{size / 1e6:10.1f} MB  last used {last_used}  {kind}/{entry.name}{', in use' * is_busy}")
            if arguments.yes and not is_busy:
                remove_entry(entry)
    print(f"{total_bytes / 1e6:10.1f} MB  {'freed' if arguments.yes else 'in all'} in {cache_dir()}")
    if total_bytes and not arguments.yes:
        only_option = f" --only {arguments.only}" if arguments.only else ""
        print(f"free it with: cnn-classifier data clean{only_option} --yes")
    return 0


def is_in_use(entry: Path) -> bool:
    """Whether a run is making this, or something in it."""
    return is_locked(entry) or any(is_locked(lock) for lock in entry.glob("*.lock"))


def remove_entry(entry: Path) -> None:
    """Delete a file or folder of the cache; of a link the link alone."""
    try:
        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    except OSError as error:  # Windows keeps what is in use
        detail = error.strerror or error
        raise StorageError(f"{entry} cannot be deleted ({detail}); end the run that uses it") from error


def get_size(entry: Path) -> int:
    """The bytes of a file or link, or of all files below a folder."""
    files = entry.rglob("*") if entry.is_dir() and not entry.is_symlink() else [entry]
    return sum(file.lstat().st_size for file in files if file.is_symlink() or file.is_file())
