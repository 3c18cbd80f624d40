"""Tests of the properties, warnings, pixels and digest of an image file."""

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


def test_image_info_has_format_upright_size_and_warnings(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate 90 degrees clockwise
    Image.new("RGB", (40, 20)).save(tmp_path / "rotated.png", "JPEG", exif=exif)
    result = inspect_files([tmp_path / "rotated.png"])
    info = result[tmp_path / "rotated.png"]
    assert (info.format, info.width, info.height) == ("JPEG", 20, 40)
    assert (info.decode_error, len(info.thumbnail)) == (None, 256)
    assert info.warnings == ("exif-rotated",)
    assert result.get_warnings(tmp_path / "rotated.png") == ["exif-rotated", "misnamed"]
    assert result.unreadable == {}


def test_read_image_info_returns_preprocessed_pixels(root: Path) -> None:
    preprocess = Preprocess(image_size=8, channels=1, resize="pad", mean=(0.0,), std=(1.0,))
    path = root / "cats" / "000.png"
    _, pixels = read_image_info(path, preprocess=preprocess)
    assert np.array_equal(pixels, preprocess.load(path))
    assert read_image_info(path)[1] is None


def test_unreadable_file_has_only_a_decode_error(root: Path) -> None:
    broken = root / "cats" / "000.png"
    broken.write_bytes(b"")
    result = inspect_files(sorted(root.rglob("*.png")))
    assert result.unreadable == {broken: "the file is empty"}
    assert (result[broken], result.get_warnings(broken)) == (ImageInfo(decode_error="the file is empty"), [])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="requires named pipes")
def test_named_pipe_is_unreadable_and_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    result = inspect_files([tmp_path / "a.png"])
    assert result.unreadable == {tmp_path / "a.png": "not a regular file, but a folder, a pipe, a socket or a device"}


def test_digest_is_computed_without_loading_the_whole_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "large.png").write_bytes(b"no photo")
    monkeypatch.delattr(Path, "read_bytes")
    assert compute_digest(tmp_path / "large.png") == hashlib.sha256(b"no photo").hexdigest()
