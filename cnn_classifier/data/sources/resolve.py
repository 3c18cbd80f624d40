"""From what a user names (a folder, an archive, an address, a CSV) to the images and their classes."""

import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cnn_classifier.data.config import DatasetConfig
from cnn_classifier.data.sources.archive import (
    ARCHIVE_SUFFIXES,
    dataset_cache_dir,
    extract_archive,
    extract_to_cache,
    file_fingerprint,
    is_archive,
)
from cnn_classifier.data.sources.archive_extract import COMPLETION_MARKER
from cnn_classifier.data.sources.class_names import casefold_path, rename_classes
from cnn_classifier.data.sources.csv_manifest import scan_csv
from cnn_classifier.data.sources.download import download_file, filename_from_url
from cnn_classifier.data.sources.folder import scan_archives, scan_eval_folder, scan_root, scan_splits
from cnn_classifier.data.sources.index import DatasetIndex
from cnn_classifier.data.sources.listing import raise_unlistable
from cnn_classifier.data.sources.named_datasets import detect_known_dataset, write_digits
from cnn_classifier.data.splits.groups import assign_groups
from cnn_classifier.errors import ConfigError, DataError
from cnn_classifier.files import cache_dir

BUILTIN_DATASETS = {"digits": write_digits}
TABLE_SUFFIXES = (".csv", ".tsv")


def scan_source(options: DatasetConfig) -> DatasetIndex:
    """Find every image and its class, after downloading and unpacking what is not there yet; nothing is decoded.

    Raises:
        ConfigError: If the options do not say where the images are, or call every class the same.
        DataError: If there are no images, no classes, or splits of other classes, or a download or archive is bad.
        StorageError: If there is no room for a download or an archive.
    """
    try:
        original = scan_configured_source(options)
    except PermissionError as error:  # of a folder on the way; those that are walked say so themselves
        raise_unlistable(error)
    scan = rename_classes(original, options.rename_classes)
    if len(scan.class_names) == 1:
        raise ConfigError(f"dataset.class_names calls every class {scan.class_names[0]!r}; expected at least two names")
    return assign_groups(scan, options.group_pattern)


def scan_configured_source(options: DatasetConfig) -> DatasetIndex:
    """The scan under the folders' own names."""
    if options.split_dirs:
        if "train" not in options.split_dirs:
            raise ConfigError("dataset.train_dir is not set; give it beside dataset.val_dir and dataset.test_dir")
        return scan_splits(options.split_dirs, root=Path(options.root).expanduser() if options.root else None)
    if options.root:
        return scan_path(Path(options.root).expanduser(), "dataset.root")
    if not options.sources:
        homepage_hint = f"; download it from {options.homepage}" if options.homepage else ""
        raise ConfigError(
            f"dataset.source is not set{homepage_hint}; say where the images of {options.name!r} are: "
            "dataset.source=FOLDER|ZIP|TAR|CSV|URL or dataset.root=FOLDER"
        )
    if len(options.sources) > 1:
        folder = extract_all(options)
        return detect_known_dataset(folder) or scan_archives(folder)
    return scan_path(local_path(options), "dataset.source")


def scan_path(path: Path, key: str) -> DatasetIndex:
    """The images of a local folder, archive or CSV."""
    if path.is_file():
        if path.suffix.lower() in TABLE_SUFFIXES:
            return scan_csv(path)
        if is_archive(path):
            return scan_path(extract_to_cache(path), key)
        raise DataError(f"{key}: {path} is neither a folder nor a zip or tar archive nor a CSV; give one of them")
    return (detect_known_dataset(path) if path.is_dir() else None) or scan_root(path, key)


def scan_for_evaluation(path: Path) -> DatasetIndex:
    """The labelled images of a folder, archive or CSV, one class being enough; where it has a test split, those alone.

    Raises:
        DataError: If there are none.
    """
    try:
        if path.is_file() and is_archive(path):
            return scan_for_evaluation(extract_to_cache(path))
        known_dataset = path.is_dir() and detect_known_dataset(path)
        if not known_dataset and not path.is_file():
            return scan_eval_folder(path)
    except PermissionError as error:
        raise_unlistable(error)
    scan = known_dataset or scan_path(path, "FOLDER")
    test_samples = [sample for sample in scan.samples if sample.split == "test"]
    return replace(scan, samples=test_samples or scan.samples)


def local_path(options: DatasetConfig) -> Path:
    """Where the images of one `dataset.source` lie on this machine, once they are here."""
    source, checksum = options.sources[0], next(iter(options.checksums), None)
    if source in BUILTIN_DATASETS:
        return BUILTIN_DATASETS[source]()
    if is_url(source):
        return fetch_and_extract(
            source, checksum, options, dataset_cache_dir(options.name, *cache_key(source, checksum))
        )
    return Path(source).expanduser()


def extract_all(options: DatasetConfig) -> Path:
    """The folder that holds the archives of a list, each in a folder of its name."""
    checksums: list[str | None] = [*options.checksums] or [None] * len(options.sources)
    sources = list(zip(options.sources, checksums, strict=True))
    folder = dataset_cache_dir(options.name, *(part for source in sources for part in cache_key(*source)))
    used_names: set[str] = set()
    for number, (source, checksum) in enumerate(sources, start=1):
        name = archive_stem(source)
        name = f"{name}-{number}" if casefold_path(name) in used_names else name
        used_names.add(casefold_path(name))
        fetch_and_extract(source, checksum, options, folder / name)
    return folder


def cache_key(source: str, checksum: str | None) -> list[str]:
    """What tells an address or a local archive, as it is now, from every other."""
    if is_url(source):
        return [source, str(checksum)]
    archive = Path(source).expanduser()
    if not archive.is_file():
        problem = "is no file" if archive.exists() else "does not exist"
        raise DataError(f"dataset.source: {archive} {problem}; a list is of archives and addresses of archives")
    return file_fingerprint(archive)


def archive_stem(source: str) -> str:
    """The name of an archive without its ending, as a folder may be called anywhere."""
    name = Path(unquote(urlsplit(source).path) if is_url(source) else source).name
    suffix = next(filter(name.lower().endswith, ARCHIVE_SUFFIXES), "")
    return re.sub(r'[<>:"/\\|?*]', "_", name[: len(name) - len(suffix)]).strip(". ") or "archive"


def fetch_and_extract(source: str, checksum: str | None, options: DatasetConfig, folder: Path) -> Path:
    """The unpacked archive at an address or path; a download is deleted once it is unpacked."""
    if not is_url(source):
        return extract_archive(Path(source).expanduser(), folder)
    if not (folder / COMPLETION_MARKER).exists():
        archive = download_file(source, cache_dir() / "downloads", checksum=checksum, mirror=options.mirror)
        try:
            extract_archive(archive, folder)
        except DataError as error:
            archive.unlink(missing_ok=True)  # without a checksum it would be trusted next time
            raise DataError(str(error).replace(str(archive), source)) from error
        archive.unlink(missing_ok=True)  # another run may have been here first
    return folder


def is_url(source: str) -> bool:
    """Whether it looks like a URL; `C:\\photos` is none."""
    return re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+://", source) is not None


def source_name(source: str) -> str:
    """What to call a folder after that holds what was found in a source."""
    name = filename_from_url(source) if is_url(source) else Path(source).expanduser().resolve().name
    suffixes = [suffix for suffix in (*ARCHIVE_SUFFIXES, *TABLE_SUFFIXES) if name.lower().endswith(suffix)]
    return (name[: -len(suffixes[0])] if suffixes else name) or "images"
