"""From what a user names (a folder, an archive, an address, a CSV) to the images and their classes."""

import hashlib
import re
from pathlib import Path

from cnn_classifier.data.archive import is_archive, unpack
from cnn_classifier.data.digits import write_digits
from cnn_classifier.data.download import fetch
from cnn_classifier.data.folder import Scan, grouped, renamed, scan_root, scan_splits
from cnn_classifier.data.options import DatasetOptions
from cnn_classifier.data.public import special_layout
from cnn_classifier.data.table import scan_table
from cnn_classifier.data.unpacking import MARKER
from cnn_classifier.errors import ConfigError, DataError
from cnn_classifier.storage import cache_home

GENERATED = {"digits": write_digits}
TABLE_SUFFIXES = (".csv", ".tsv")


def scan_source(options: DatasetOptions) -> Scan:
    """Find every image and its class, after downloading and unpacking what is not there yet; nothing is decoded.

    Raises:
        ConfigError: If the options do not say where the images are.
        DataError: If there are no images, no classes, or splits of other classes, or a download or archive is bad.
        StorageError: If there is no room for a download or an archive.
    """
    scan = find_images_of(options)
    return grouped(renamed(scan, options.class_names), options.group_pattern)


def find_images_of(options: DatasetOptions) -> Scan:
    """The scan under the folders' own names."""
    if options.named_folders:
        if "train" not in options.named_folders:
            raise ConfigError("dataset.train_dir is not set; give it beside dataset.val_dir and dataset.test_dir")
        return scan_splits(options.named_folders, root=Path(options.root).expanduser() if options.root else None)
    if options.root:
        return scan_place(Path(options.root).expanduser(), "dataset.root")
    if not options.sources:
        found_at = f"; download it from {options.homepage}" if options.homepage else ""
        raise ConfigError(
            f"dataset.source is not set{found_at}; say where the images of {options.name!r} are: "
            "dataset.source=FOLDER|ZIP|TAR|CSV|URL or dataset.root=FOLDER"
        )
    return scan_place(place_of(options), "dataset.source")


def scan_place(place: Path, key: str) -> Scan:
    """The images of a local folder, archive or CSV."""
    if place.is_file():
        if place.suffix.lower() in TABLE_SUFFIXES:
            return scan_table(place)
        if is_archive(place):
            return scan_place(unpacked(place), key)
        raise DataError(f"{key}: {place} is neither a folder nor a zip or tar archive nor a CSV; give one of them")
    return (special_layout(place) if place.is_dir() else None) or scan_root(place, key)


def place_of(options: DatasetOptions) -> Path:
    """Where the images of `dataset.source` lie on this machine, once they are here."""
    sources: list[str] = options.sources
    checksums: list[str | None] = [*options.checksums] or [None] * len(sources)
    if len(sources) > 1:  # archives that belong together, side by side below one folder
        together = cache_home() / "datasets" / name_of(options.name, *sources, *map(str, checksums))
        for source, checksum in zip(sources, checksums, strict=True):
            local_copy(source, checksum, options, together / name_of(Path(source).name, source))
        return together
    source = sources[0]
    if source in GENERATED:
        return GENERATED[source]()
    if is_address(source):
        folder = cache_home() / "datasets" / name_of(options.name, source, str(checksums[0]))
        return local_copy(source, checksums[0], options, folder)
    return Path(source).expanduser()


def local_copy(source: str, checksum: str | None, options: DatasetOptions, folder: Path) -> Path:
    """The unpacked archive at an address or path; a download is deleted once it is unpacked."""
    if not is_address(source):
        return unpack(Path(source).expanduser(), folder)
    if not (folder / MARKER).exists():
        archive = fetch(source, cache_home() / "downloads", checksum=checksum, mirror=options.mirror)
        try:
            unpack(archive, folder)
        except DataError as error:
            archive.unlink(missing_ok=True)  # without a checksum it would be trusted next time
            raise DataError(str(error).replace(str(archive), source)) from error
        archive.unlink(missing_ok=True)  # another run may have been here first
    return folder


def unpacked(archive: Path) -> Path:
    """The folder in the cache that holds a local archive as it is now."""
    status = archive.stat()
    name = name_of(archive.name, str(archive.resolve()), str(status.st_size), str(status.st_mtime_ns))
    return unpack(archive, cache_home() / "datasets" / name)


def name_of(what: str, *key: str) -> str:
    """A readable folder name that no other source has."""
    readable = re.sub(r"[^\w.-]+", "_", what).strip("._")[:60]
    return f"{readable}-{hashlib.sha256(chr(0).join(key).encode('utf-8', 'surrogateescape')).hexdigest()[:12]}"


def is_address(source: str) -> bool:
    """Whether it looks like a URL; `C:\\photos` is none."""
    return re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+://", source) is not None
