"""The `cache` command: cached datasets and decoded images are listed or deleted."""

import argparse
import shutil
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from cnn_classifier.errors import StorageError
from cnn_classifier.files import SOURCE_FILE, cache_dir, is_locked
from cnn_classifier.report.text_table import format_table

KINDS = {
    "packed": "decoded pixels",
    "datasets": "extracted or generated images",
    "downloads": "archives",
    "weights": "pretrained weights",
    "features": "outputs of pretrained backbones",
}


def add_parser(subparsers: Any) -> None:
    """Add `cache` and `cache clear` to the sub-parsers of argparse."""
    parser = subparsers.add_parser(
        "cache", help="list the cached data with sizes, or delete it", usage="%(prog)s [-h] [clear [KIND]]"
    )
    parser.set_defaults(command=run_list)
    clear_parser = parser.add_subparsers(metavar="clear", prog="cnn-classifier cache").add_parser(
        "clear", help="delete the cached data that no run is using"
    )
    clear_parser.add_argument(
        "kind",
        metavar="KIND",
        nargs="?",
        choices=list(KINDS),
        help=", ".join(f"{kind} ({description})" for kind, description in KINDS.items()) + " (default: all)",
    )
    clear_parser.set_defaults(command=run_clear)


def run_list(arguments: argparse.Namespace) -> int:
    """List every entry of the cache with its size and last use."""
    table, total_bytes = format_entries(list_entries(KINDS), "total in")
    print(table)
    if total_bytes:
        print("delete with: cnn-classifier cache clear")
    return 0


def run_clear(arguments: argparse.Namespace) -> int:
    """Delete the entries of the cache, or of one kind, that no run is using."""
    entries = list_entries([arguments.kind] if arguments.kind else KINDS)
    table, _ = format_entries(entries, "deleted from")
    for entry in entries:
        if not is_in_use(entry):
            remove_entry(entry)
    print(table)
    return 0


def list_entries(kinds: Iterable[str]) -> list[Path]:
    """List the files and folders of these kinds in the cache."""
    folders = [cache_dir() / kind for kind in kinds]
    return [entry for folder in folders if folder.is_dir() for entry in sorted(folder.iterdir())]


def format_entries(entries: Iterable[Path], total_label: str) -> tuple[str, int]:
    """Format the size and last use of each entry, and the total.

    Args:
        entries: The files and folders of the cache.
        total_label: The text between the total size and the cache directory.

    Returns:
        The table, and the total size of the entries that no run is using, in bytes.
    """
    total_bytes, rows = 0, []
    for entry in entries:
        size, in_use = get_size(entry), is_in_use(entry)
        total_bytes += 0 if in_use else size
        if size:  # lock files are empty
            last_used = datetime.fromtimestamp(entry.lstat().st_mtime).strftime("%Y-%m-%d")
            source = entry / SOURCE_FILE
            content = f": {source.read_text(encoding='utf-8', errors='replace')}" if source.is_file() else ""
            description = f"last used {last_used}  {entry.parent.name}/{entry.name}{content}{', in use' * in_use}"
            rows.append((format_size(size), description))
    return format_table(
        [*rows, (format_size(total_bytes), f"{total_label} {cache_dir()}")], right_align=[0]
    ), total_bytes


def format_size(num_bytes: int) -> str:
    """Return a size in megabytes, such as `1.5 MB`."""
    return f"{num_bytes / 1e6:,.1f} MB"


def is_in_use(entry: Path) -> bool:
    """Return whether a run holds the lock of an entry or of a file in it."""
    return is_locked(entry) or any(is_locked(lock) for lock in entry.glob("*.lock"))


def remove_entry(entry: Path) -> None:
    """Delete a file, a folder or a symbolic link, whose target is not deleted.

    Raises:
        StorageError: If it cannot be deleted.
    """
    try:
        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    except OSError as error:  # on Windows, files that are open cannot be deleted
        detail = error.strerror or error
        raise StorageError(f"Cannot delete {entry}: {detail}. Stop the run that uses it.") from error


def get_size(entry: Path) -> int:
    """Return the size of a file or link, or of all files in a folder, in bytes."""
    files = entry.rglob("*") if entry.is_dir() and not entry.is_symlink() else [entry]
    return sum(file.lstat().st_size for file in files if file.is_symlink() or file.is_file())
