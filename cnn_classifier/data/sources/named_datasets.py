"""Read public archives that hold no folder a class: CIFAR-10's binary version and the Oxford-IIIT Pets."""

import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm import tqdm

from cnn_classifier.data.sources.folder import scan_root
from cnn_classifier.data.sources.index import DatasetIndex, Sample
from cnn_classifier.data.sources.listing import iter_image_files, list_subfolders
from cnn_classifier.errors import DataError, StorageError
from cnn_classifier.files import PARTIAL, cache_dir, dataset_cache_dir, ensure_writable_dir, file_fingerprint, file_lock

# https://www.cs.toronto.edu/~kriz/cifar.html: a file is so many records of a label and 32 x 32 pixels, plane by plane.
CIFAR_FILES = {"train": [f"data_batch_{number}.bin" for number in range(1, 6)], "test": ["test_batch.bin"]}
CIFAR_RECORDS = 10_000
CIFAR_SHAPE = (3, 32, 32)
CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PETS_LISTS = {"train": "trainval.txt", "test": "test.txt"}


def detect_known_dataset(root: Path) -> DatasetIndex | None:
    """What a folder, or one directly inside it, holds of these data sets; None if it holds neither.

    Raises:
        DataError: If a part is missing or damaged.
        StorageError: If the images of CIFAR-10 cannot be written.
    """
    candidates = [root, *list_subfolders(root)]
    for candidate in candidates:
        # Unlike `Path.is_file` this bears folders that are locked; they are told when their images are looked for.
        if os.path.isfile(candidate / CIFAR_FILES["train"][0]):  # noqa: PTH113
            return scan_root(write_cifar10(candidate))
        if os.path.isfile(candidate / "annotations" / PETS_LISTS["train"]):  # noqa: PTH113
            return scan_pets(candidate / "annotations", find_pets_images(candidates), root)
    return None


def write_cifar10(folder: Path) -> Path:
    """Write `{train,test}/<class>/<n>.png` into a folder of the cache unless that was done, and return it."""
    fingerprints = [file_fingerprint(file) for file in sorted(folder.glob("*.bin"))]
    images_folder = dataset_cache_dir("cifar-10-images", *chain.from_iterable(fingerprints))
    if images_folder.is_dir():
        return images_folder
    batches = {split: [read_cifar10_batch(folder / name) for name in names] for split, names in CIFAR_FILES.items()}
    ensure_writable_dir(images_folder.parent)
    try:
        # Whole or not at all, also where two runs start together: it gets its name once it is complete.
        with tempfile.TemporaryDirectory(prefix=".cifar-10-", dir=images_folder.parent) as partial:
            for split, files in batches.items():
                write_cifar10_images(np.concatenate(files), Path(partial, "images", split))
            Path(partial, "images").replace(images_folder)
    except OSError as error:
        if not images_folder.is_dir():
            raise StorageError(
                f"{images_folder} cannot be written ({error.strerror}); make room on that disk"
            ) from error
    return images_folder


def read_cifar10_batch(file: Path) -> npt.NDArray[np.uint8]:
    """uint8 (records, 1 + 3072): a label, then red, green and blue."""
    if not file.is_file():
        raise DataError(f"{file} is missing; unpack the archive anew")
    size = 1 + int(np.prod(CIFAR_SHAPE))
    records = np.fromfile(file, dtype=np.uint8)
    if records.size != CIFAR_RECORDS * size:
        raise DataError(f"{file} has {records.size:,} bytes; expected {CIFAR_RECORDS * size:,}: download it anew")
    records = records.reshape(CIFAR_RECORDS, size)
    if records[:, 0].max() >= len(CIFAR_CLASSES):
        raise DataError(f"{file} has the label {records[:, 0].max()}; expected 0 to 9: download it anew")
    return records


def write_cifar10_images(records: npt.NDArray[np.uint8], folder: Path) -> None:
    """Write `folder/<class>/<n>.png` from records as `read_batch` gives them."""
    for name in CIFAR_CLASSES:
        (folder / name).mkdir(parents=True)
    for number, record in enumerate(tqdm(records, f"writing {folder.name} images", disable=None, leave=False)):
        pixels = record[1:].reshape(CIFAR_SHAPE).transpose(1, 2, 0)
        path = folder / CIFAR_CLASSES[record[0]] / f"{number:05d}.png"
        Image.fromarray(np.ascontiguousarray(pixels)).save(path, compress_level=1)


def find_pets_images(candidates: list[Path]) -> Path:
    """The folder of the photographs, which come in an archive of their own."""
    for candidate in candidates:
        if (candidate / "images").is_dir() and next((candidate / "images").glob("*.jpg"), None):
            return candidate / "images"
    raise DataError(f"{candidates[0]} has annotations but no images/*.jpg; unpack images.tar.gz there too")


def scan_pets(annotations: Path, images: Path, root: Path) -> DatasetIndex:
    """The pictures that the two lists name, of a class a breed; `Abyssinian_100.jpg` is an Abyssinian."""
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
    """The file names, without extension, of a list with lines such as `Abyssinian_100 1 1 1`."""
    if not file.is_file():
        raise DataError(f"{file} is missing; unpack annotations.tar.gz anew")
    for line, text in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        name = text.partition(" ")[0]
        if not re.fullmatch(r"\w+_\d+", name, re.ASCII):  # no path: a list must not reach outside its folder
            raise DataError(f"{file}, line {line}: {text!r}; expected a line such as Abyssinian_100 1 1 1")
        yield name


def write_digits() -> Path:
    """Write `digits/<class>/<n>.png` into the cache unless it is there, and return the folder.

    Source: the test part of E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998,
    8 x 8 grey images of 17 levels, by `sklearn.datasets.load_digits`.
    """
    folder = cache_dir() / "datasets" / "digits"
    if folder.is_dir():
        return folder
    ensure_writable_dir(folder.parent)
    with file_lock(folder):
        if not folder.is_dir():  # otherwise another run wrote it while we waited
            partial_folder = folder.with_name(f"{PARTIAL}{folder.name}")
            shutil.rmtree(partial_folder, ignore_errors=True)  # of a run that was killed
            write_digit_images(partial_folder)
            partial_folder.replace(folder)
    return folder


def write_digit_images(folder: Path) -> None:
    from sklearn.datasets import load_digits  # only now: it costs a second, once

    digits = load_digits()
    for index, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        class_folder = folder / str(label)
        class_folder.mkdir(parents=True, exist_ok=True)
        gray = np.round(pixels * (255 / 16)).astype(np.uint8)
        Image.fromarray(gray).save(class_folder / f"{index:04d}.png")
