"""Remember what was found in which file, so that the next check of the same files costs nothing."""

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from cnn_classifier.data.inspection import UNREAD, Inspection
from cnn_classifier.errors import StorageError
from cnn_classifier.storage import cache_home, make_folder

# Part of the file's name: raise it when an inspection or the search for copies changes.
LEDGER_VERSION = 1
TABLES = """
create table if not exists files (path text primary key, size integer, mtime integer, digest text) without rowid;
create table if not exists contents
    (digest text primary key, format text, width integer, height integer, notes text, thumbnail blob) without rowid;
create table if not exists copies (digests text primary key, groups text) without rowid;
"""


class Ledger:
    """A file's digest by its path, size and time; its inspection by its digest; groups of copies by all digests.

    Unreadable files are not kept: a new decoder may read them tomorrow.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def digests(self, paths: Sequence[Path]) -> dict[Path, str]:
        """The digests of those files that have not changed since they were read."""
        path_of = {key(path): path for path in paths}
        rows = self._select("select path, size, mtime, digest from files where path in", path_of)
        return {path_of[name]: digest for name, size, mtime, digest in rows if state(path_of[name]) == (size, mtime)}

    def inspections(self, digests: Iterable[str]) -> dict[str, Inspection]:
        """What is known of these contents."""
        columns = "digest, format, width, height, notes, thumbnail"
        rows = self._select(f"select {columns} from contents where digest in", digests)
        return {
            digest: Inspection(
                format=image_format, width=width, height=height, notes=tuple(json.loads(notes)), thumbnail=thumbnail
            )
            for digest, image_format, width, height, notes, thumbnail in rows
        }

    def copies(self, digests: str) -> list[list[str]] | None:
        """The groups of near copies found earlier among exactly these contents."""
        row = self.connection.execute("select groups from copies where digests = ?", [digests]).fetchone()
        return json.loads(row[0]) if row else None

    def add_digests(self, digests: Mapping[Path, str], states: Mapping[Path, tuple[int, int]]) -> None:
        """Of files in these states, which must be older than the digests; a change in between shows next time."""
        rows = [(key(path), *states[path], digest) for path, digest in digests.items() if not digest.startswith(UNREAD)]
        with self.connection:
            self.connection.executemany("insert or replace into files values (?, ?, ?, ?)", rows)

    def add_inspections(self, inspections: Mapping[str, Inspection]) -> None:
        rows = [
            (digest, found.format, found.width, found.height, json.dumps(found.notes), found.thumbnail)
            for digest, found in inspections.items()
            if not found.reason
        ]
        with self.connection:
            self.connection.executemany("insert or replace into contents values (?, ?, ?, ?, ?, ?)", rows)

    def add_copies(self, digests: str, groups: Sequence[Sequence[str]]) -> None:
        with self.connection:
            self.connection.execute("insert or replace into copies values (?, ?)", [digests, json.dumps(groups)])

    def _select(self, statement: str, keys: Iterable[str]) -> Iterator[tuple]:  # type: ignore[type-arg]
        wanted = list(keys)
        for start in range(0, len(wanted), 500):  # SQLite takes 999 values at least
            block = wanted[start : start + 500]
            marks = ", ".join("?" * len(block))
            yield from self.connection.execute(f"{statement} ({marks})", block)


@contextmanager
def open_ledger() -> Iterator[Ledger]:
    """The ledger in the cache folder, which several runs may use at once; what is added is kept from then on."""
    path = make_folder(cache_home()) / f"checks-{LEDGER_VERSION}.sqlite"
    try:
        connection = sqlite3.connect(path, timeout=60)
        try:
            connection.executescript(TABLES)
            yield Ledger(connection)
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise StorageError(f"{path}: {error}; delete this file, it is only a memory of earlier checks") from error


def key(path: Path) -> str:
    """The path as text that SQLite can hold, also where it is no UTF-8."""
    return os.fsencode(path.absolute()).decode("latin-1")


def state(path: Path) -> tuple[int, int]:
    """Size in bytes and time of the last change in ns: a file that keeps both is taken to be the same."""
    try:
        status = path.stat()
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns
