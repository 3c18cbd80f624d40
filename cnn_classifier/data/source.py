"""From what a user names (a folder, an archive, an address, a CSV) to the images and their classes."""

import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cnn_classifier.data.archive import ARCHIVE_SUFFIXES, is_archive, unpack
from cnn_classifier.data.digits import write_digits
from cnn_classifier.data.download import fetch, file_name
from cnn_classifier.data.folder import Scan, scan_labelled, scan_root, scan_splits
from cnn_classifier.data.kept import kept_in, version_of
from cnn_classifier.data.naming import grouped, renamed
from cnn_classifier.data.options import DatasetOptions
from cnn_classifier.data.public import special_layout
from cnn_classifier.data.table import scan_table
from cnn_classifier.data.together import scan_together
from cnn_classifier.data.unpacking import MARKER, caseless
from cnn_classifier.data.walk import refuse
from cnn_classifier.errors import ConfigError, DataError
from cnn_classifier.storage import cache_home

GENERATED = {"digits": write_digits}
TABLE_SUFFIXES = (".csv", ".tsv")


def scan_source(options: DatasetOptions) -> Scan:
    """Find every image and its class, after downloading and unpacking what is not there yet; nothing is decoded.

    Raises:
        ConfigError: If the options do not say where the images are, or call every class the same.
        DataError: If there are no images, no classes, or splits of other classes, or a download or archive is bad.
        StorageError: If there is no room for a download or an archive.
    """
    try:
        found = find_images_of(options)
    except PermissionError as error:  # of a folder on the way; those that are walked say so themselves
        refuse(error)
    scan = renamed(found, options.class_names)
    if len(scan.class_names) == 1:
        raise ConfigError(f"dataset.class_names calls every class {scan.class_names[0]!r}; expected at least two names")
    return grouped(scan, options.group_pattern)


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
    if len(options.sources) > 1:
        together = side_by_side(options)
        return special_layout(together) or scan_together(together)
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


def scan_to_test(place: Path) -> Scan:
    """The labelled images of a folder, archive or CSV, one class being enough; where it has a test split, those alone.

    Raises:
        DataError: If there are none.
    """
    try:
        if place.is_file() and is_archive(place):
            return scan_to_test(unpacked(place))
        special = place.is_dir() and special_layout(place)
        if not special and not place.is_file():
            return scan_labelled(place)
    except PermissionError as error:
        refuse(error)
    scan = special or scan_place(place, "FOLDER")
    tests = [sample for sample in scan.samples if sample.split == "test"]
    return replace(scan, samples=tests or scan.samples)


def place_of(options: DatasetOptions) -> Path:
    """Where the images of one `dataset.source` lie on this machine, once they are here."""
    source, checksum = options.sources[0], next(iter(options.checksums), None)
    if source in GENERATED:
        return GENERATED[source]()
    if is_address(source):
        return local_copy(source, checksum, options, kept_in(options.name, *key_of(source, checksum)))
    return Path(source).expanduser()


def side_by_side(options: DatasetOptions) -> Path:
    """The folder that holds the archives of a list, each in a folder of its name."""
    checksums: list[str | None] = [*options.checksums] or [None] * len(options.sources)
    sources = list(zip(options.sources, checksums, strict=True))
    together = kept_in(options.name, *(word for source in sources for word in key_of(*source)))
    taken: set[str] = set()
    for number, (source, checksum) in enumerate(sources, start=1):
        name = stem_of(source)
        name = f"{name}-{number}" if caseless(name) in taken else name
        taken.add(caseless(name))
        local_copy(source, checksum, options, together / name)
    return together


def key_of(source: str, checksum: str | None) -> list[str]:
    """What tells an address or a local archive, as it is now, from every other."""
    if is_address(source):
        return [source, str(checksum)]
    archive = Path(source).expanduser()
    if not archive.is_file():
        what = "is no file" if archive.exists() else "does not exist"
        raise DataError(f"dataset.source: {archive} {what}; a list is of archives and addresses of archives")
    return version_of(archive)


def stem_of(source: str) -> str:
    """The name of an archive without its ending, as a folder may be called anywhere."""
    name = Path(unquote(urlsplit(source).path) if is_address(source) else source).name
    suffix = next(filter(name.lower().endswith, ARCHIVE_SUFFIXES), "")
    return re.sub(r'[<>:"/\\|?*]', "_", name[: len(name) - len(suffix)]).strip(". ") or "archive"


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
    return unpack(archive, kept_in(archive.name, *version_of(archive)))


def is_address(source: str) -> bool:
    """Whether it looks like a URL; `C:\\photos` is none."""
    return re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+://", source) is not None


def name_of(source: str) -> str:
    """What to call a folder after that holds what was found in a source."""
    name = file_name(source) if is_address(source) else Path(source).expanduser().resolve().name
    endings = [ending for ending in (*ARCHIVE_SUFFIXES, *TABLE_SUFFIXES) if name.lower().endswith(ending)]
    return (name[: -len(endings[0])] if endings else name) or "images"
