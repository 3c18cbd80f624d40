"""Read public archives that hold no folder a class: CIFAR-10's binary version and the Oxford-IIIT Pets."""

import os
import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm import tqdm

from cnn_classifier.data.folder import Sample, Scan, scan_root
from cnn_classifier.data.kept import kept_in, version_of
from cnn_classifier.data.walk import image_files, subfolders
from cnn_classifier.errors import DataError, StorageError
from cnn_classifier.storage import make_folder

# https://www.cs.toronto.edu/~kriz/cifar.html: a file is so many records of a label and 32 x 32 pixels, plane by plane.
CIFAR_FILES = {"train": [f"data_batch_{number}.bin" for number in range(1, 6)], "test": ["test_batch.bin"]}
CIFAR_RECORDS = 10_000
CIFAR_SHAPE = (3, 32, 32)
CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PETS_LISTS = {"train": "trainval.txt", "test": "test.txt"}


def special_layout(root: Path) -> Scan | None:
    """What a folder, or one directly inside it, holds of these data sets; None if it holds neither.

    Raises:
        DataError: If a part is missing or damaged.
        StorageError: If the images of CIFAR-10 cannot be written.
    """
    places = [root, *subfolders(root)]
    for place in places:
        # Unlike `Path.is_file` this bears folders that are locked; they are told when their images are looked for.
        if os.path.isfile(place / CIFAR_FILES["train"][0]):  # noqa: PTH113
            return scan_root(write_cifar10(place))
        if os.path.isfile(place / "annotations" / PETS_LISTS["train"]):  # noqa: PTH113
            return scan_pets(place / "annotations", pets_images(places), root)
    return None


def write_cifar10(folder: Path) -> Path:
    """Write `{train,test}/<class>/<n>.png` into a folder of the cache unless that was done, and return it."""
    versions = [version_of(file) for file in sorted(folder.glob("*.bin"))]
    images = kept_in("cifar-10-images", *chain.from_iterable(versions))
    if images.is_dir():
        return images
    batches = {split: [read_batch(folder / name) for name in names] for split, names in CIFAR_FILES.items()}
    make_folder(images.parent)
    try:
        # Whole or not at all, also where two runs start together: it gets its name once it is complete.
        with tempfile.TemporaryDirectory(prefix=".cifar-10-", dir=images.parent) as partial:
            for split, files in batches.items():
                write_pictures(np.concatenate(files), Path(partial, "images", split))
            Path(partial, "images").replace(images)
    except OSError as error:
        if not images.is_dir():
            raise StorageError(f"{images} cannot be written ({error.strerror}); make room on that disk") from error
    return images


def read_batch(file: Path) -> npt.NDArray[np.uint8]:
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


def write_pictures(records: npt.NDArray[np.uint8], folder: Path) -> None:
    """Write `folder/<class>/<n>.png` from records as `read_batch` gives them."""
    for name in CIFAR_CLASSES:
        (folder / name).mkdir(parents=True)
    for number, record in enumerate(tqdm(records, f"writing {folder.name} images", disable=None, leave=False)):
        pixels = record[1:].reshape(CIFAR_SHAPE).transpose(1, 2, 0)
        place = folder / CIFAR_CLASSES[record[0]] / f"{number:05d}.png"
        Image.fromarray(np.ascontiguousarray(pixels)).save(place, compress_level=1)


def pets_images(places: list[Path]) -> Path:
    """The folder of the photographs, which come in an archive of their own."""
    for place in places:
        if (place / "images").is_dir() and next((place / "images").glob("*.jpg"), None):
            return place / "images"
    raise DataError(f"{places[0]} has annotations but no images/*.jpg; unpack images.tar.gz there too")


def scan_pets(annotations: Path, images: Path, root: Path) -> Scan:
    """The pictures that the two lists name, of a class a breed; `Abyssinian_100.jpg` is an Abyssinian."""
    listed = [(split, name) for split, file in PETS_LISTS.items() for name in pet_names(annotations / file)]
    breeds = [name.rpartition("_")[0].replace("_", " ").title() for _, name in listed]
    class_names = sorted(set(breeds))
    samples = [
        Sample(images / f"{name}.jpg", class_names.index(breed), split)
        for (split, name), breed in zip(listed, breeds, strict=True)
    ]
    ignored: Counter[str] = Counter()
    unlisted = set(image_files(images, ignored)) - {sample.path for sample in samples}
    ignored.update(path.suffix.lower() for path in unlisted)
    return Scan(root, samples, class_names, ignored)


def pet_names(file: Path) -> Iterator[str]:
    """The file names, without extension, of a list with lines such as `Abyssinian_100 1 1 1`."""
    if not file.is_file():
        raise DataError(f"{file} is missing; unpack annotations.tar.gz anew")
    for line, text in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        name = text.partition(" ")[0]
        if not re.fullmatch(r"\w+_\d+", name, re.ASCII):  # no path: a list must not reach outside its folder
            raise DataError(f"{file}, line {line}: {text!r}; expected a line such as Abyssinian_100 1 1 1")
        yield name
