"""One look at a file tells what it holds, what is odd about it, and its pixels."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnn_classifier.data.checks.check import inspect_files
from cnn_classifier.data.checks.image_info import ImageInfo, compute_digest, read_image_info
from cnn_classifier.data.images.preprocess import Preprocess


@pytest.fixture
def root(make_folder: Callable[..., Path]) -> Path:
    return make_folder({"cats": 3, "dogs": 3})


def test_a_file_says_its_format_its_upright_size_and_what_is_odd_about_it(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned
    Image.new("RGB", (40, 20)).save(tmp_path / "turned.png", "JPEG", exif=exif)
    found = inspect_files([tmp_path / "turned.png"])
    inspection = found[tmp_path / "turned.png"]
    assert (inspection.format, inspection.width, inspection.height) == ("JPEG", 20, 40)
    assert (inspection.decode_error, len(inspection.thumbnail)) == (None, 256)
    assert inspection.warnings == ("exif-rotated",)
    assert found.get_warnings(tmp_path / "turned.png") == ["exif-rotated", "misnamed"]
    assert found.unreadable == {}


def test_its_pixels_come_with_the_inspection(root: Path) -> None:
    preprocess = Preprocess(image_size=8, channels=1, resize="pad", mean=(0.0,), std=(1.0,))
    path = root / "cats" / "000.png"
    _, pixels = read_image_info(path, preprocess=preprocess)
    assert np.array_equal(pixels, preprocess.load(path))
    assert read_image_info(path)[1] is None


def test_a_file_that_cannot_be_read_says_why_and_nothing_else(root: Path) -> None:
    broken = root / "cats" / "000.png"
    broken.write_bytes(b"")
    found = inspect_files(sorted(root.rglob("*.png")))
    assert found.unreadable == {broken: "the file is empty"}
    assert (found[broken], found.get_warnings(broken)) == (ImageInfo(decode_error="the file is empty"), [])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in folders on Windows")
def test_a_pipe_that_a_table_lists_is_told_and_never_waited_on(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    found = inspect_files([tmp_path / "a.png"])
    assert found.unreadable == {tmp_path / "a.png": "no file, but a folder, a pipe, a socket or a device"}


def test_a_file_is_hashed_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "large.png").write_bytes(b"no photo")
    monkeypatch.delattr(Path, "read_bytes")  # a file of 20 GB must not be loaded whole
    assert compute_digest(tmp_path / "large.png") == hashlib.sha256(b"no photo").hexdigest()
