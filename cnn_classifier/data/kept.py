"""The folders of the cache that hold what was unpacked or converted: one for each source, as it was then."""

import hashlib
import re
from pathlib import Path

from cnn_classifier.storage import cache_home


def kept_in(what: str, *key: str) -> Path:
    """The folder of a source: its name is readable, and no other key has it."""
    readable = re.sub(r"[^\w.-]+", "_", what).strip("._")[:60]
    digest = hashlib.sha256(chr(0).join(key).encode("utf-8", "surrogateescape")).hexdigest()
    return cache_home() / "datasets" / f"{readable}-{digest[:12]}"


def version_of(path: Path) -> list[str]:
    """The key of a local file: another path, size or time of change is another source."""
    status = path.stat()
    return [str(path.resolve()), str(status.st_size), str(status.st_mtime_ns)]
