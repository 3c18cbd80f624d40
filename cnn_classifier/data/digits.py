"""The embedded data set: 1,797 handwritten digits that ship with scikit-learn, as a folder of PNGs."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from cnn_classifier.storage import cache_home, make_folder


def write_digits() -> Path:
    """Write `digits/<class>/<n>.png` into the cache unless it is there, and return the folder.

    Source: the test part of E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998,
    8 x 8 grey images of 17 levels, by `sklearn.datasets.load_digits`.
    """
    folder = cache_home() / "datasets" / "digits"
    if folder.is_dir():
        return folder
    from sklearn.datasets import load_digits  # only now: it costs a second, once

    digits = load_digits()
    make_folder(folder.parent)
    partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".digits-"))
    for index, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        class_folder = partial / str(label)
        class_folder.mkdir(exist_ok=True)
        grey = np.round(pixels * (255 / 16)).astype(np.uint8)
        Image.fromarray(grey).save(class_folder / f"{index:04d}.png")
    try:
        partial.replace(folder)  # whole or not at all, also where two runs start together
    except OSError:
        shutil.rmtree(partial)
    return folder
