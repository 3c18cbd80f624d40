"""The folders of the cache that hold what was unpacked or converted: one for each source, as it was then."""

import hashlib
import re
from pathlib import Path

from cnn_classifier.storage import cache_dir


def dataset_cache_dir(name: str, *key: str) -> Path:
    """The folder of a source: its name is readable, and no other key has it."""
    slug = re.sub(r"[^\w.-]+", "_", name).strip("._")[:60]
    digest = hashlib.sha256(chr(0).join(key).encode("utf-8", "surrogateescape")).hexdigest()
    return cache_dir() / "datasets" / f"{slug}-{digest[:12]}"


def file_fingerprint(path: Path) -> list[str]:
    """The key of a local file: another path, size or time of change is another source."""
    stat_result = path.stat()
    return [str(path.resolve()), str(stat_result.st_size), str(stat_result.st_mtime_ns)]
