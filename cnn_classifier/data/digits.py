"""The embedded data set: 1,797 handwritten digits that ship with scikit-learn, as a folder of PNGs."""

import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from cnn_classifier.data.lock import PARTIAL, file_lock
from cnn_classifier.storage import cache_dir, ensure_writable_dir


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
