"""Resolution of a data source (folder, archive, URL, CSV file or named dataset) to a `DatasetIndex`."""

import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cnn_classifier.data import AUTO
from cnn_classifier.data.archives.archive import (
    ARCHIVE_SUFFIXES,
    dataset_cache_dir,
    extract_archive,
    extract_to_cache,
    file_fingerprint,
    is_archive,
    read_notes,
)
from cnn_classifier.data.archives.extractor import COMPLETION_MARKER
from cnn_classifier.data.config import TABLE_SUFFIXES, DatasetConfig
from cnn_classifier.data.sources.class_names import (
    casefold_path,
    keep_trained_classes,
    note_unmatched_names,
    rename_classes,
)
from cnn_classifier.data.sources.csv_manifest import check_listed_files, scan_csv
from cnn_classifier.data.sources.download import download_file, filename_from_url
from cnn_classifier.data.sources.folder import scan_archives, scan_eval_folder, scan_root, scan_splits
from cnn_classifier.data.sources.index import DatasetIndex
from cnn_classifier.data.sources.listing import raise_unlistable
from cnn_classifier.data.sources.named_datasets import detect_known_dataset, write_digits
from cnn_classifier.data.splits.groups import assign_groups
from cnn_classifier.errors import ConfigError, DataError
from cnn_classifier.files import cache_dir

BUILTIN_DATASETS = {"digits": write_digits}


def scan_source(options: DatasetConfig) -> DatasetIndex:
    """Index the images and classes of a dataset, after downloading and extracting it if necessary.

    No image is decoded.

    Args:
        options: The dataset configuration.

    Raises:
        ConfigError: If the configuration names no source, or renames all classes to one.
        DataError: If there are no images or classes, or a class, download or archive is invalid.
        StorageError: If a download or archive cannot be written.
    """
    try:
        original = scan_configured_source(options)
    except PermissionError as error:  # of a parent folder; `listing` reports the folders below the root
        raise_unlistable(error)
    if str(table := options.table or options.root).lower().endswith(TABLE_SUFFIXES):
        check_listed_files(str(table), original, options.max_unreadable if options.on_unreadable == "skip" else 0)
    index = rename_classes(original, options.rename_classes)
    if len(index.class_names) == 1:
        raise ConfigError(
            f"dataset.rename_classes renames every class to {index.class_names[0]!r}. Expected at least two names."
        )
    index = replace(index, notes=[*index.notes, *note_unmatched_names(original, options.rename_classes)])
    return assign_groups(keep_trained_classes(index), options.group_pattern)


def scan_configured_source(options: DatasetConfig) -> DatasetIndex:
    """Index the images under their original class names."""
    if options.split_dirs:
        if "train" not in options.split_dirs:
            raise ConfigError(
                "dataset.train_dir is not set. Set it together with dataset.val_dir and dataset.test_dir."
            )
        return scan_splits(options.split_dirs, root=Path(options.root).expanduser() if options.root else None)
    if options.root and options.table:
        return scan_csv(Path(options.table).expanduser(), Path(options.root).expanduser())
    if options.root:
        return scan_path(Path(options.root).expanduser(), "dataset.root", options.zip_encoding)
    if not options.sources:
        homepage_hint = f" Download it from {options.homepage}." if options.homepage else ""
        raise ConfigError(
            f"dataset.source is not set for dataset {options.name!r}.{homepage_hint} Set "
            "dataset.source=FOLDER|ZIP|TAR|CSV|URL or dataset.root=FOLDER."
        )
    if len(options.sources) > 1:
        folder = extract_all(options)
        return with_notes(detect_known_dataset(folder) or scan_archives(folder), folder)
    return scan_path(local_path(options), "dataset.source", options.zip_encoding)


def with_notes(index: DatasetIndex, folder: Path) -> DatasetIndex:
    """Return an index with the notes about the archives that were extracted into a folder."""
    return replace(index, notes=[*read_notes(folder), *index.notes])


def scan_path(path: Path, key: str, encoding: str = AUTO) -> DatasetIndex:
    """Index a local folder, archive (with names in this encoding) or CSV file; `key` names it in error messages."""
    if path.is_file():
        if path.suffix.lower() in TABLE_SUFFIXES:
            return scan_csv(path)
        if is_archive(path):
            return scan_path(extract_to_cache(path, encoding), key)
        raise DataError(f"{key}: {path} is not a folder, a zip or tar archive, or a CSV file. Pass one of these.")
    return with_notes((detect_known_dataset(path) if path.is_dir() else None) or scan_root(path, key), path)


def scan_for_evaluation(path: Path) -> DatasetIndex:
    """Index the labeled images of a folder, archive or CSV file for evaluation.

    If there is a test split, only its images are returned. A single class is sufficient.

    Raises:
        DataError: If there are no labeled images.
    """
    try:
        if path.is_file() and is_archive(path):
            return scan_for_evaluation(extract_to_cache(path))
        known_dataset = path.is_dir() and detect_known_dataset(path)
        if not known_dataset and not path.is_file():
            return with_notes(scan_eval_folder(path), path)
    except PermissionError as error:
        raise_unlistable(error)
    index = known_dataset or scan_path(path, "FOLDER")
    test_samples = [sample for sample in index.samples if sample.split == "test"]
    return replace(index, samples=test_samples or index.samples)


def local_path(options: DatasetConfig) -> Path:
    """Return the local path of the only `dataset.source`, after downloading or writing it if necessary."""
    source, checksum = options.sources[0], next(iter(options.checksums), None)
    if source in BUILTIN_DATASETS:
        return BUILTIN_DATASETS[source]()
    if is_url(source):
        folder = dataset_cache_dir(options.name, *cache_key(source, checksum, options.zip_encoding))
        return fetch_and_extract(source, checksum, options, folder)
    return Path(source).expanduser()


def extract_all(options: DatasetConfig) -> Path:
    """Extract every archive of a list `dataset.source` into a subfolder of its name, and return their folder."""
    checksums: list[str | None] = [*options.checksums] or [None] * len(options.sources)
    sources = list(zip(options.sources, checksums, strict=True))
    folder = dataset_cache_dir(
        options.name, *(part for source in sources for part in cache_key(*source, options.zip_encoding))
    )
    used_names: set[str] = set()
    for number, (source, checksum) in enumerate(sources, start=1):
        name = archive_stem(source)
        name = f"{name}-{number}" if casefold_path(name) in used_names else name
        used_names.add(casefold_path(name))
        fetch_and_extract(source, checksum, options, folder / name)
    return folder


def cache_key(source: str, checksum: str | None, encoding: str) -> list[str]:
    """Return the cache key of a URL or of the current content of a local archive."""
    if is_url(source):
        return [source, str(checksum), *[encoding] * (encoding != AUTO)]
    archive = Path(source).expanduser()
    if not archive.is_file():
        problem = "is not a file" if archive.exists() else "does not exist"
        raise DataError(f"dataset.source: {archive} {problem}. A list must contain archives and URLs of archives.")
    return [*file_fingerprint(archive), encoding]


def archive_stem(source: str) -> str:
    """Return the name of an archive without its suffix, as a valid folder name on every file system."""
    name = Path(unquote(urlsplit(source).path) if is_url(source) else source).name
    suffix = next(filter(name.lower().endswith, ARCHIVE_SUFFIXES), "")
    return re.sub(r'[<>:"/\\|?*]', "_", name[: len(name) - len(suffix)]).strip(". ") or "archive"


def fetch_and_extract(source: str, checksum: str | None, options: DatasetConfig, folder: Path) -> Path:
    """Return the folder of the extracted archive; a downloaded archive is deleted after its extraction."""
    if not is_url(source):
        return extract_archive(Path(source).expanduser(), folder, options.zip_encoding)
    if not (folder / COMPLETION_MARKER).exists():
        archive = download_file(source, cache_dir() / "downloads", checksum=checksum, mirror=options.mirror)
        try:
            extract_archive(archive, folder, options.zip_encoding)
        except DataError as error:
            archive.unlink(missing_ok=True)  # otherwise the next run would use it again
            raise DataError(str(error).replace(str(archive), source)) from error
        archive.unlink(missing_ok=True)  # another process may have deleted it
    return folder


def is_url(source: str) -> bool:
    """Return whether a source has a URL scheme, unlike a Windows path with a drive letter."""
    return re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+://", source) is not None


def source_name(source: str) -> str:
    """Return a name for a folder of results about a source: its file name without suffix."""
    name = filename_from_url(source) if is_url(source) else Path(source).expanduser().resolve().name
    suffixes = [suffix for suffix in (*ARCHIVE_SUFFIXES, *TABLE_SUFFIXES) if name.lower().endswith(suffix)]
    return (name[: -len(suffixes[0])] if suffixes else name) or "images"
