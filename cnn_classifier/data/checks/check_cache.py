"""Remember what was found in which file, so that the next check of the same files costs nothing."""

import json
import os
import sqlite3
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from cnn_classifier.data.checks.image_info import UNREADABLE_PREFIX, ImageInfo
from cnn_classifier.errors import StorageError
from cnn_classifier.files import cache_dir

# Part of the file's name: raise it when an inspection or the search for copies changes.
CHECK_CACHE_VERSION = 3
TIMEOUT = 60.0  # seconds to wait for another run, which writes for a moment only
FileState = tuple[int, int, int]
SCHEMA = """
create table if not exists files
    (path text primary key, size integer, mtime integer, ctime integer, digest text) without rowid;
create table if not exists contents
    (digest text primary key, format text, width integer, height integer, notes text, thumbnail blob) without rowid;
create table if not exists copies (digests text primary key, groups text) without rowid;
"""


class CheckCache:
    """A file's digest by its path, size and times; its inspection by its digest; groups of copies by all digests.

    Unreadable files are not kept: a new decoder may read them tomorrow. Where the memory cannot be read or written,
    everything is new or nothing is kept: that costs time, no run.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.connection, self.path, self.writable = connection, path, True

    def get_digests(self, paths: Sequence[Path]) -> dict[Path, str]:
        """The digests of those files that have not changed since they were read."""
        path_by_key = {encode_path(path): path for path in paths}
        rows = self._select("select path, digest, size, mtime, ctime from files where path in", path_by_key)
        return {
            path_by_key[name]: digest
            for name, digest, *saved_state in rows
            if file_state(path_by_key[name]) == tuple(saved_state)
        }

    def get_image_infos(self, digests: Iterable[str]) -> dict[str, ImageInfo]:
        """What is known of these contents."""
        columns = "digest, format, width, height, notes, thumbnail"
        rows = self._select(f"select {columns} from contents where digest in", digests)
        return {
            digest: ImageInfo(
                format=image_format, width=width, height=height, warnings=tuple(notes.split()), thumbnail=thumbnail
            )
            for digest, image_format, width, height, notes, thumbnail in rows
        }

    def get_duplicate_groups(self, digests_hash: str) -> list[list[str]] | None:
        """The groups of near copies found earlier among exactly these contents."""
        rows = self._select("select groups from copies where digests in", [digests_hash])
        return json.loads(rows[0][0]) if rows else None

    def add_digests(self, digests: Mapping[Path, str], states: Mapping[Path, FileState]) -> None:
        """Of files in these states, which must be older than the digests; a change in between shows next time."""
        rows = [
            (encode_path(path), *states[path], digest)
            for path, digest in digests.items()
            if not digest.startswith(UNREADABLE_PREFIX)
        ]
        self._insert("files", rows)

    def add_image_infos(self, image_infos: Mapping[str, ImageInfo]) -> None:
        rows = [
            (digest, info.format, info.width, info.height, " ".join(info.warnings), info.thumbnail)
            for digest, info in image_infos.items()
            if not info.decode_error
        ]
        self._insert("contents", rows)

    def add_duplicate_groups(self, digests_hash: str, groups: Sequence[Sequence[str]]) -> None:
        self._insert("copies", [(digests_hash, json.dumps(groups))])

    def _select(self, statement: str, keys: Iterable[str]) -> list[Any]:
        values, rows = list(keys), []
        try:
            for start in range(0, len(values), 500):  # SQLite takes 999 values at least
                block = values[start : start + 500]
                rows += self.connection.execute(f"{statement} ({', '.join('?' * len(block))})", block).fetchall()
        except sqlite3.OperationalError as error:
            warn_once(self.path, describe_error(error))
        return rows

    def _insert(self, table: str, rows: Sequence[Sequence[Any]]) -> None:
        if not (rows and self.writable):
            return
        try:
            with self.connection:
                placeholders = ", ".join("?" * len(rows[0]))
                self.connection.executemany(f"insert or replace into {table} values ({placeholders})", rows)
        except sqlite3.OperationalError as error:
            self.writable = False
            warn_once(self.path, describe_error(error))


@contextmanager
def open_check_cache() -> Iterator[CheckCache]:
    """The ledger in the cache folder, which several runs may use at once; what is added is kept from then on.

    Raises:
        StorageError: If it is damaged.
    """
    path = cache_dir() / f"checks-{CHECK_CACHE_VERSION}.sqlite"
    try:
        with closing(connect(path)) as connection:
            yield CheckCache(connection, path)
    except sqlite3.Error as error:
        raise StorageError(f"{path}: {error}; delete this file, it is only a memory of earlier checks") from error


def connect(path: Path) -> sqlite3.Connection:
    """The memory of earlier checks, to read if it cannot be written; an empty one if it can be neither."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.touch()  # whoever may write into the folder may write this: SQLite's own mode leaves others out
        return create_tables(path)
    except (OSError, sqlite3.OperationalError) as error:
        warn_once(path, describe_error(error))
        return create_tables(":memory:")


def create_tables(path: Path | str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=TIMEOUT)
    try:
        connection.executescript(SCHEMA)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def describe_error(error: OSError | sqlite3.OperationalError) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    is_busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
    return f"another run has held it for {TIMEOUT:g} seconds" if is_busy else str(error)


@cache
def warn_once(path: Path, reason: str) -> None:
    """Say it once a run."""
    print(f"warning: {path}: {reason}; what is found in this run is not remembered for the next", file=sys.stderr)


def encode_path(path: Path) -> str:
    """The path as text that SQLite can hold, also where it is no UTF-8."""
    return os.fsencode(path.absolute()).decode("latin-1")


def file_state(path: Path) -> FileState:
    """Size in bytes, and in ns the times of the last change of the content and of anything else.

    A file that is copied or unpacked may bring the first time along, never the second; on Windows that is when the file
    was made. The inode would add nothing, and some network drives give a file another one each time.
    """
    try:
        stat_result = path.stat()
    except OSError:
        return -1, -1, -1
    return stat_result.st_size, stat_result.st_mtime_ns, stat_result.st_ctime_ns
