"""Datasets with a layout or source of their own: CIFAR-10 (binary version), Oxford-IIIT Pets and digits."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from cnn_classifier.data.archives.archive import dataset_cache_dir, file_fingerprint
from cnn_classifier.data.sources.folder import scan_root
from cnn_classifier.data.sources.index import DatasetIndex, Sample
from cnn_classifier.data.sources.listing import iter_image_files, list_subfolders
from cnn_classifier.errors import DataError
from cnn_classifier.files import atomic_dir, cache_dir, ensure_writable_dir, file_lock
from cnn_classifier.progress import progress_bar

# The binary version of CIFAR-10, https://www.cs.toronto.edu/~kriz/cifar.html: each record of a file is one label byte
# followed by the red, green and blue planes of 32 x 32 pixels.
CIFAR_FILES = {"train": [f"data_batch_{number}.bin" for number in range(1, 6)], "test": ["test_batch.bin"]}
CIFAR_RECORDS = 10_000
CIFAR_SHAPE = (3, 32, 32)
CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PETS_LISTS = {"train": "trainval.txt", "test": "test.txt"}


def detect_known_dataset(root: Path) -> DatasetIndex | None:
    """Index CIFAR-10 or the Oxford-IIIT Pets if a folder or one of its subfolders contains them.

    Args:
        root: The folder.

    Returns:
        The index, or None if the folder contains neither dataset.

    Raises:
        DataError: If a part of the dataset is missing or damaged.
        StorageError: If the images of CIFAR-10 cannot be written to the cache.
    """
    candidates = [root, *list_subfolders(root)]
    for candidate in candidates:
        # Unlike `Path.is_file`, `os.path.isfile` does not raise for a locked folder; the scan reports it later.
        if os.path.isfile(candidate / CIFAR_FILES["train"][0]):  # noqa: PTH113
            return scan_root(write_cifar10(candidate))
        if os.path.isfile(candidate / "annotations" / PETS_LISTS["train"]):  # noqa: PTH113
            return scan_pets(candidate / "annotations", find_pets_images(candidates), root)
    return None


def write_cifar10(folder: Path) -> Path:
    """Write CIFAR-10 as `{train,test}/<class>/<n>.png` into the cache, unless it is there, and return that folder."""
    fingerprints = [file_fingerprint(file) for file in sorted(folder.glob("*.bin"))]
    images_folder = dataset_cache_dir("cifar-10-images", *chain.from_iterable(fingerprints))
    if images_folder.is_dir():
        return images_folder
    batches = {split: [read_cifar10_batch(folder / name) for name in names] for split, names in CIFAR_FILES.items()}
    ensure_writable_dir(images_folder.parent)
    with file_lock(images_folder):
        if not images_folder.is_dir():  # otherwise another process wrote it while this one waited
            with atomic_dir(images_folder) as partial:
                for split, records in batches.items():
                    write_cifar10_images(np.concatenate(records), partial / split)
    return images_folder


def read_cifar10_batch(file: Path) -> npt.NDArray[np.uint8]:
    """Read one file of records.

    Returns:
        uint8 array, shape (10000, 1 + 3072): a label, then the red, green and blue planes.

    Raises:
        DataError: If the file is missing, has another size or contains an invalid label.
    """
    if not file.is_file():
        raise DataError(f"{file} is missing; extract the archive again")
    size = 1 + int(np.prod(CIFAR_SHAPE))
    records = np.fromfile(file, dtype=np.uint8)
    if records.size != CIFAR_RECORDS * size:
        raise DataError(f"{file} has {records.size:,} bytes; expected {CIFAR_RECORDS * size:,}; download it again")
    records = records.reshape(CIFAR_RECORDS, size)
    if records[:, 0].max() >= len(CIFAR_CLASSES):
        raise DataError(f"{file} has the label {records[:, 0].max()}; expected 0 to 9; download it again")
    return records


def write_cifar10_images(records: npt.NDArray[np.uint8], folder: Path) -> None:
    """Write the images of records from `read_cifar10_batch`."""
    images = records[:, 1:].reshape(-1, *CIFAR_SHAPE).transpose(0, 2, 3, 1)
    class_names = [CIFAR_CLASSES[label] for label in records[:, 0]]
    write_images(images, class_names, folder, number_width=5, compress_level=1)


def write_images(
    images: npt.NDArray[np.uint8],
    class_names: Sequence[str],
    folder: Path,
    *,
    number_width: int,
    compress_level: int = -1,
) -> None:
    """Write images as `folder/<class>/<n>.png`.

    Args:
        images: The pixels, shape (N, H, W) or (N, H, W, 3).
        class_names: The class name of each image.
        folder: The folder to create the class folders in.
        number_width: The number of digits in the file names, which are zero-padded.
        compress_level: The zlib level of the PNG files; -1 is zlib's default.
    """
    for class_name in set(class_names):
        (folder / class_name).mkdir(parents=True)
    progress = progress_bar(images, "writing images")
    for number, (pixels, class_name) in enumerate(zip(progress, class_names, strict=True)):
        path = folder / class_name / f"{number:0{number_width}d}.png"
        Image.fromarray(np.ascontiguousarray(pixels)).save(path, compress_level=compress_level)


def find_pets_images(candidates: list[Path]) -> Path:
    """Return the folder of the photos, which come in an archive separate from the annotations."""
    for candidate in candidates:
        if (candidate / "images").is_dir() and next((candidate / "images").glob("*.jpg"), None):
            return candidate / "images"
    raise DataError(f"{candidates[0]} has annotations but no images/*.jpg; extract images.tar.gz there as well")


def scan_pets(annotations: Path, images: Path, root: Path) -> DatasetIndex:
    """Index the images of the two list files; the class is the breed in the file name, as in `Abyssinian_100.jpg`."""
    entries = [(split, name) for split, file in PETS_LISTS.items() for name in read_pet_names(annotations / file)]
    breeds = [name.rpartition("_")[0].replace("_", " ").title() for _, name in entries]
    class_names = sorted(set(breeds))
    samples = [
        Sample(images / f"{name}.jpg", class_names.index(breed), split)
        for (split, name), breed in zip(entries, breeds, strict=True)
    ]
    ignored: Counter[str] = Counter()
    unlisted = set(iter_image_files(images, ignored)) - {sample.path for sample in samples}
    ignored.update(path.suffix.lower() for path in unlisted)
    return DatasetIndex(root, samples, class_names, ignored)


def read_pet_names(file: Path) -> Iterator[str]:
    """Yield the file names, without extension, of a list file with lines such as `Abyssinian_100 1 1 1`."""
    if not file.is_file():
        raise DataError(f"{file} is missing; extract annotations.tar.gz again")
    for line, text in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        name = text.partition(" ")[0]
        if not re.fullmatch(
            r"\w+_\d+", name, re.ASCII
        ):  # not a path: a list must not refer to files outside its folder
            raise DataError(f"{file}, line {line}: {text!r}; expected a line such as Abyssinian_100 1 1 1")
        yield name


def write_digits() -> Path:
    """Write scikit-learn's digits as `digits/<class>/<n>.png` into the cache, unless they are there.

    Source: the test part of E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998:
    8 x 8 gray images with 17 levels, from `sklearn.datasets.load_digits`.

    Returns:
        The folder `digits`.
    """
    folder = cache_dir() / "datasets" / "digits"
    if folder.is_dir():
        return folder
    ensure_writable_dir(folder.parent)
    with file_lock(folder):
        if not folder.is_dir():  # otherwise another process wrote it while this one waited
            with atomic_dir(folder) as partial:
                write_digit_images(partial)
    return folder


def write_digit_images(folder: Path) -> None:
    """Write the images of `sklearn.datasets.load_digits`, scaled from 0-16 to 0-255."""
    from sklearn.datasets import load_digits  # the import takes a second and is needed only once

    digits = load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)
    write_images(images, [str(label) for label in digits.target], folder, number_width=4)
