"""The SQLite cache of image checks: digests, image information and near-duplicate groups."""

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
from cnn_classifier.data.parallel import batch_slices
from cnn_classifier.errors import StorageError
from cnn_classifier.files import cache_dir

# Part of the file name. Increment it when `read_image_info` or the duplicate search changes.
CHECK_CACHE_VERSION = 4
TIMEOUT = 60.0  # seconds to wait for a lock held by another run; writes normally take milliseconds
MAX_QUERY_KEYS = 500  # SQLite builds accept at least 999 parameters in a statement
FileState = tuple[int, int, int]
SCHEMA = """
create table if not exists files
    (path text primary key, size integer, mtime integer, ctime integer, digest text) without rowid;
create table if not exists contents
    (digest text primary key, format text, width integer, height integer, notes text, thumbnail blob, limits text)
    without rowid;
create table if not exists copies (digests text primary key, groups text) without rowid;
"""


class CheckCache:
    """A cache of file digests, image information and near-duplicate groups.

    Digests are stored by path, size and timestamps; `ImageInfo` by digest; near-duplicate groups by a hash of all
    digests. Unreadable files are not stored, because a newer decoder may read them. If the database cannot be read or
    written, the check runs without it and prints one warning.

    Args:
        connection: The open database.
        path: The database file, named in warnings.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.connection, self.path, self.writable = connection, path, True

    def get_digests(self, paths: Sequence[Path]) -> dict[Path, str]:
        """Return the digests of the files that have not changed since they were cached."""
        path_by_key = {encode_path(path): path for path in paths}
        rows = self._select("select path, digest, size, mtime, ctime from files where path in", path_by_key)
        return {
            path_by_key[key]: digest
            for key, digest, *saved_state in rows
            if file_state(path_by_key[key]) == tuple(saved_state)
        }

    def get_image_infos(self, digests: Iterable[str]) -> dict[str, ImageInfo]:
        """Return the cached image information by digest."""
        columns = "digest, format, width, height, notes, thumbnail, limits"
        rows = self._select(f"select {columns} from contents where digest in", digests)
        return {digest: ImageInfo.from_row(*values) for digest, *values in rows}

    def get_duplicate_groups(self, digests_hash: str) -> list[list[str]] | None:
        """Return the cached near-duplicate groups of a set of contents, or None if there is no entry.

        Args:
            digests_hash: The hash of the sorted digests of the set.
        """
        rows = self._select("select groups from copies where digests in", [digests_hash])
        return json.loads(rows[0][0]) if rows else None

    def add_digests(self, digests: Mapping[Path, str], states: Mapping[Path, FileState]) -> None:
        """Store the digests of readable files.

        Args:
            digests: The digest of each file.
            states: The state of each file from before its digest was computed, so that a change during the computation
                is detected by the next check.
        """
        rows = [
            (encode_path(path), *states[path], digest)
            for path, digest in digests.items()
            if not digest.startswith(UNREADABLE_PREFIX)
        ]
        self._insert("files", rows)

    def add_image_infos(self, image_infos: Mapping[str, ImageInfo]) -> None:
        """Store the image information of readable contents by digest."""
        rows = [(digest, *info.to_row()) for digest, info in image_infos.items() if not info.decode_error]
        self._insert("contents", rows)

    def add_duplicate_groups(self, digests_hash: str, groups: Sequence[Sequence[str]]) -> None:
        """Store the near-duplicate groups of a set of contents; see `get_duplicate_groups`."""
        self._insert("copies", [(digests_hash, json.dumps(groups))])

    def _select(self, statement: str, keys: Iterable[str]) -> list[Any]:
        values, rows = list(keys), []
        try:
            for batch in batch_slices(len(values), MAX_QUERY_KEYS):
                placeholders = ", ".join("?" * len(values[batch]))
                rows += self.connection.execute(f"{statement} ({placeholders})", values[batch]).fetchall()
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
    """Open the check cache in the cache directory; several processes can use it at the same time.

    Raises:
        StorageError: If the database is damaged.
    """
    path = cache_dir() / f"checks-{CHECK_CACHE_VERSION}.sqlite"
    try:
        with closing(connect(path)) as connection:
            yield CheckCache(connection, path)
    except sqlite3.Error as error:
        raise StorageError(
            f"Cannot read the check cache {path}: {error}. Delete this file; it is recreated by the next check."
        ) from error


def connect(path: Path) -> sqlite3.Connection:
    """Connect to the database; if it cannot be opened, print a warning and connect to an empty one in memory."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.touch()  # SQLite would create the file without group write permission
        return create_tables(path)
    except (OSError, sqlite3.OperationalError) as error:
        warn_once(path, describe_error(error))
        return create_tables(":memory:")


def create_tables(path: Path | str) -> sqlite3.Connection:
    """Open a database and create the missing tables."""
    connection = sqlite3.connect(path, timeout=TIMEOUT)
    try:
        connection.executescript(SCHEMA)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def describe_error(error: OSError | sqlite3.OperationalError) -> str:
    """Return the reason why the database cannot be used."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    is_busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
    return f"locked by another process for {TIMEOUT:g} seconds" if is_busy else str(error)


@cache
def warn_once(path: Path, reason: str) -> None:
    """Print a warning once for each path and reason."""
    print(
        f"warning: cannot use the check cache {path}: {reason}. Results of this check are not cached.", file=sys.stderr
    )


def encode_path(path: Path) -> str:
    """Return an absolute path as text that SQLite can store, even if the path is not valid UTF-8."""
    return os.fsencode(path.absolute()).decode("latin-1")


def file_state(path: Path) -> FileState:
    """Return the size in bytes, mtime and ctime in nanoseconds; -1 for all three if the file cannot be accessed.

    Copying or extracting a file can preserve its mtime but not its ctime. On Windows `st_ctime` is the creation time.
    The inode is not included, because some network file systems report a different one on each access.
    """
    try:
        stat_result = path.stat()
    except OSError:
        return -1, -1, -1
    return stat_result.st_size, stat_result.st_mtime_ns, stat_result.st_ctime_ns
