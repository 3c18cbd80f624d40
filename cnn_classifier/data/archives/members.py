"""The members of archives, the limits on their compression, and the errors of damaged and unsafe archives.

`extractall` and tarfile's `filter="data"` are not used: links bypassed the filter (CVE-2025-4517, -4330, -4138).
"""

import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from cnn_classifier.errors import DataError

CHUNK_BYTES = 2**20
# Photos hardly shrink, deflate reaches 1,032. Small archives are exempt, since a blank page can shrink that much.
MAX_RATIO = 200
MAX_RATIO_FREE_BYTES = 2**20
# The exceptions that the readers raise for broken archives, found by fuzzing.
READER_ERRORS = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error, OSError, EOFError, ValueError,
    LookupError, ArithmeticError, RuntimeError, MemoryError,
)  # fmt: skip


class Member(NamedTuple):
    """One file or folder of an archive.

    Args:
        name: The name as it is stored in the archive.
        size: The declared size of a file in bytes; None for a folder.
        chunks: The content of the file, to be read before the next member is requested.
    """

    name: str
    size: int | None
    chunks: Iterator[bytes]


def unsafe_member_error(archive: Path, name: str, reason: str) -> DataError:
    """Return the error for an archive that is refused because of one member."""
    return DataError(
        f"Cannot extract {archive}: {name[:100]!r} {reason}. Nothing was extracted. "
        "If you trust the archive, extract it yourself and pass the folder."
    )


@contextmanager
def archive_errors(archive: Path) -> Iterator[None]:
    """Convert errors of the archive readers to `DataError`; errors of a generator's consumer are not converted."""
    try:
        yield
    except READER_ERRORS as error:
        detail = getattr(error, "strerror", None) or error
        raise DataError(f"Cannot read {archive} as a zip or tar archive: {detail}. Download it again.") from error
