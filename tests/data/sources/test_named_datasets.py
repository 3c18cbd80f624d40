"""Tests of CIFAR-10 and the Oxford-IIIT Pets, whose archives have no class folders."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnn_classifier.data.sources import named_datasets
from cnn_classifier.data.sources.folder import scan_root
from cnn_classifier.data.sources.named_datasets import CIFAR_CLASSES, detect_known_dataset
from cnn_classifier.errors import DataError, StorageError

MakeFolder = Callable[..., Path]


@pytest.fixture
def cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An extracted archive with 20 images per file instead of 10,000, red above and blue below, and an empty cache."""
    monkeypatch.setenv("CNN_CLASSIFIER_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(named_datasets, "CIFAR_RECORDS", 20)
    folder = tmp_path / "unpacked" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    planes = np.zeros((3, 32, 32), dtype=np.uint8)
    planes[0, :16] = planes[2, 16:] = 250
    for name in [f"data_batch_{number}.bin" for number in range(1, 6)] + ["test_batch.bin"]:
        (folder / name).write_bytes(b"".join(bytes([label % 10]) + planes.tobytes() for label in range(20)))
    (folder / "batches.meta.txt").write_text("\n".join(CIFAR_CLASSES), encoding="utf-8")
    return folder


@pytest.mark.parametrize("folder", ["unpacked", "unpacked/cifar-10-batches-bin"])
def test_cifar10_images_are_written_once(cifar: Path, tmp_path: Path, folder: str) -> None:
    index = detect_known_dataset(tmp_path / folder)
    assert index is not None
    assert index.class_names == list(CIFAR_CLASSES)
    assert [sample.split for sample in index.samples] == ["train"] * 100 + ["test"] * 20
    assert all(sample.path.parent.name == CIFAR_CLASSES[sample.label] for sample in index.samples)
    with Image.open(index.samples[0].path) as image:
        assert (image.format, image.size, image.mode) == ("PNG", (32, 32), "RGB")
        assert [image.getpixel((5, row)) for row in (0, 15, 16, 31)] == [(250, 0, 0)] * 2 + [(0, 0, 250)] * 2
    assert index.root.parent == tmp_path / "home" / "datasets"  # the user's own folder may be read-only
    assert [entry.name for entry in cifar.parent.iterdir()] == ["cifar-10-batches-bin"]

    written = index.samples[0].path.stat().st_mtime_ns
    again = detect_known_dataset(tmp_path / folder)
    assert again == index
    assert again.samples[0].path.stat().st_mtime_ns == written
    os.utime(cifar / "test_batch.bin", ns=(0, 0))
    changed = detect_known_dataset(tmp_path / folder)
    assert changed is not None
    assert changed.root != index.root


def test_interrupted_cifar10_export_leaves_no_folder(
    cifar: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raise_disk_full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", raise_disk_full)
        with pytest.raises(StorageError, match=r"^Cannot write .*cifar-10-images-\w+: No space left on device\."):
            detect_known_dataset(cifar)
    assert [path.suffix for path in (tmp_path / "home" / "datasets").iterdir()] == [".lock"]
    assert detect_known_dataset(cifar) is not None


def test_incomplete_cifar10_raises_data_error_before_writing_images(cifar: Path, tmp_path: Path) -> None:
    batch = cifar / "data_batch_3.bin"
    whole = batch.read_bytes()
    for content, message in (
        (whole[:-1], r"data_batch_3\.bin has 61,459 bytes; expected 61,460; download it again"),
        (b"\x0a" + whole[1:], r"data_batch_3\.bin has the label 10; expected 0 to 9"),
    ):
        batch.write_bytes(content)
        with pytest.raises(DataError, match=message):
            detect_known_dataset(cifar)
    batch.unlink()
    with pytest.raises(DataError, match=r"data_batch_3\.bin is missing; extract the archive again"):
        detect_known_dataset(cifar)
    assert not (tmp_path / "home").exists()


def make_pets(images: Path, annotations: Path) -> None:
    """Write two breeds as in the archives, including an unlisted image, a MATLAB file and a mask."""
    (images / "images").mkdir(parents=True)
    for name in ("Abyssinian_1", "Abyssinian_2", "american_bulldog_7", "american_bulldog_10", "Abyssinian_34"):
        (images / "images" / f"{name}.jpg").write_bytes(b"")
    (images / "images" / "Abyssinian_101.mat").write_bytes(b"")
    (annotations / "annotations" / "trimaps").mkdir(parents=True)
    (annotations / "annotations" / "trimaps" / "Abyssinian_1.png").write_bytes(b"")
    lists = {
        "trainval.txt": "Abyssinian_2 1 1 1\namerican_bulldog_10 2 2 1\n",
        "test.txt": "Abyssinian_1 1 1 1\namerican_bulldog_7 2 2 1\n",
    }
    for name, text in lists.items():
        (annotations / "annotations" / name).write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("images", "annotations"), [(".", "."), ("images.tar.gz-1", "annotations.tar.gz-2"), ("images", "annotations")]
)
def test_pets_are_split_by_their_lists(tmp_path: Path, images: str, annotations: str) -> None:
    make_pets(tmp_path / images, tmp_path / annotations)
    index = detect_known_dataset(tmp_path)
    assert index is not None
    assert index.class_names == ["Abyssinian", "American Bulldog"]
    assert [(sample.path.name, sample.label, sample.split) for sample in index.samples] == [
        ("Abyssinian_2.jpg", 0, "train"),
        ("american_bulldog_10.jpg", 1, "train"),
        ("Abyssinian_1.jpg", 0, "test"),
        ("american_bulldog_7.jpg", 1, "test"),
    ]
    assert all(sample.path.is_file() for sample in index.samples)
    assert index.ignored == {".mat": 1, ".jpg": 1}


@pytest.mark.parametrize("line", ["../../secret_1 1 1 1", "/etc/x_1 1 1 1", "", "Abyssinian 1 1 1", "caf\xe9_1 1 1 1"])
def test_invalid_line_of_a_pets_list_raises_data_error(tmp_path: Path, line: str) -> None:
    make_pets(tmp_path, tmp_path)
    (tmp_path / "annotations" / "test.txt").write_bytes(f"Abyssinian_1 1 1 1\n{line}\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"test\.txt, line 2: .*; expected a line such as Abyssinian_100 1 1 1"):
        detect_known_dataset(tmp_path)


def test_incomplete_pets_raise_data_error(tmp_path: Path) -> None:
    make_pets(tmp_path / "a", tmp_path / "b")
    with pytest.raises(
        DataError, match=r"b has annotations but no images/\*\.jpg; extract images\.tar\.gz there as well"
    ):
        detect_known_dataset(tmp_path / "b")
    (tmp_path / "b" / "annotations" / "test.txt").unlink()
    with pytest.raises(DataError, match=r"test\.txt is missing; extract annotations\.tar\.gz again"):
        detect_known_dataset(tmp_path)


def test_class_folders_are_not_a_known_dataset(make_folder: MakeFolder) -> None:
    root = make_folder({"images": 1, "annotations": 1})
    assert detect_known_dataset(root) is None
    assert scan_root(root).class_names == ["annotations", "images"]
