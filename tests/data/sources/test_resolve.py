"""Tests of resolving a source: folder, archive, CSV file, URL or named dataset."""

import hashlib
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.download_site import Site, respond_with, run_site

from cnn_classifier.config.compose import load_config, to_container
from cnn_classifier.data.config import DatasetConfig
from cnn_classifier.data.loading.prepare import prepare_images
from cnn_classifier.data.sources import named_datasets
from cnn_classifier.data.sources.index import DatasetIndex
from cnn_classifier.data.sources.resolve import scan_for_evaluation, scan_source
from cnn_classifier.errors import ConfigError, DataError
from cnn_classifier.files import write_csv

MakeFolder = Callable[..., Path]
REMOTE_URL = "https://example.invalid/data/photos.zip"


@pytest.fixture(autouse=True)
def no_mirror(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove a mirror of the environment, and use an empty cache."""
    monkeypatch.delenv("CNN_CLASSIFIER_MIRROR", raising=False)


@pytest.fixture
def photos(make_folder: MakeFolder) -> Path:
    """Class folders inside a wrapper folder, as in Microsoft's archive."""
    root = make_folder({"PetImages/Cat": 2, "PetImages/Dog": 3}, size=8)
    (root / "PetImages" / "Cat" / "Thumbs.db").write_bytes(b"Windows")
    (root / "readme[1].txt").write_text("Microsoft", encoding="utf-8")
    return root


@pytest.fixture
def site() -> Iterator[Site]:
    with run_site() as site:
        yield site


def pack(folder: Path, kind: str = "zip") -> Path:
    """Write an archive of a folder beside it, of kind `zip`, `tar` or `gztar`, and return its path."""
    return Path(shutil.make_archive(str(folder.parent / f"{folder.name}-packed"), kind, folder))


def serve_archive(site: Site, archive: Path) -> str:
    """Serve an archive at any URL, and return its checksum for `dataset.checksum`."""
    site.content = archive.read_bytes()
    return f"sha256:{hashlib.sha256(site.content).hexdigest()}"


def image_bytes(index: DatasetIndex) -> list[tuple[str, bytes]]:
    """Return the class name and the file content of every image."""
    return sorted((index.class_names[sample.label], sample.path.read_bytes()) for sample in index.samples)


def count_images(index: DatasetIndex) -> dict[tuple[str | None, str], int]:
    """Return the number of images by split and class."""
    return Counter((sample.split, index.class_names[sample.label]) for sample in index.samples)


def cached_files(folder: Path) -> list[str]:
    """Return the file names below a cache folder, without locks."""
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")


def named_config(name: str, site: Site, *overrides: str) -> DatasetConfig:
    """Return the configuration of a named dataset, with the local site as its mirror."""
    return DatasetConfig(
        **to_container(load_config([f"dataset={name}", f"dataset.mirror={site.address}", *overrides]).dataset)
    )


@pytest.mark.parametrize("kind", ["folder", "zip", "tar", "gztar", "csv"])
@pytest.mark.parametrize("key", ["source", "root"])
def test_folder_archive_and_csv_give_the_same_images(photos: Path, kind: str, key: str) -> None:
    expected = sorted((path.parent.name, path.read_bytes()) for path in photos.rglob("*.png"))
    source = photos if kind == "folder" else photos / "photos.csv"
    if kind == "csv":
        names = [path.relative_to(photos).as_posix() for path in photos.rglob("*.png")]
        write_csv(source, [("path", "label"), *((name, name.split("/")[1]) for name in names)])
    elif kind != "folder":
        source = pack(photos, kind)
    index = scan_source(DatasetConfig(**{key: str(source)}))
    assert index.class_names == ["Cat", "Dog"]
    assert image_bytes(index) == expected
    assert index.ignored == ({} if kind == "csv" else {".db": 1})


def test_local_archive_is_kept_and_extracted_once(photos: Path, home: Path) -> None:
    archive = pack(photos)
    first = scan_source(DatasetConfig(source=str(archive)))
    first.samples[0].path.unlink()
    assert len(scan_source(DatasetConfig(source=str(archive))).samples) == 4  # not unpacked again
    (photos / "PetImages" / "Cat" / "001.png").unlink()
    pack(photos)
    assert count_images(scan_source(DatasetConfig(source=str(archive)))) == {(None, "Cat"): 1, (None, "Dog"): 3}
    assert archive.is_file()
    assert cached_files(home / "downloads") == []


@pytest.mark.parametrize("pinned", [True, False], ids=["checksum", "no checksum"])
def test_url_is_downloaded_once_and_its_archive_deleted(site: Site, photos: Path, home: Path, pinned: bool) -> None:
    checksum = serve_archive(site, pack(photos))
    options = DatasetConfig(source=f"{site.address}/photos.zip", checksum=checksum if pinned else None)
    first = scan_source(options)
    assert count_images(first) == {(None, "Cat"): 2, (None, "Dog"): 3}
    assert cached_files(home / "downloads") == []
    first.samples[0].path.unlink()
    assert len(scan_source(options).samples) == 4
    assert site.requests == [("/photos.zip", None)]


@pytest.mark.parametrize("by", ["option", "environment"])
def test_mirror_replaces_the_url(site: Site, photos: Path, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    checksum = serve_archive(site, pack(photos))
    mirror = f"{site.address}/mirror"
    if by == "environment":
        monkeypatch.setenv("CNN_CLASSIFIER_MIRROR", mirror)
    options = DatasetConfig(source=REMOTE_URL, checksum=checksum, mirror=mirror if by == "option" else None)
    assert scan_source(options).class_names == ["Cat", "Dog"]
    assert site.requests == [("/mirror/photos.zip", None)]


def test_wrong_checksum_leaves_no_files(site: Site, photos: Path, home: Path) -> None:
    right = serve_archive(site, pack(photos))
    wrong = f"sha256:{'0' * 64}"
    with pytest.raises(
        DataError, match=rf"^Checksum mismatch for {REMOTE_URL}: expected {wrong}, got {right}\. The file was damaged"
    ):
        scan_source(DatasetConfig(source=REMOTE_URL, checksum=wrong, mirror=site.address))
    assert cached_files(home) == []


def test_downloaded_file_that_is_not_an_archive_is_deleted(site: Site, photos: Path, home: Path) -> None:
    options = DatasetConfig(source=f"{site.address}/photos.zip")
    serve_archive(site, pack(photos))
    site.faults = [respond_with(200, b"<html>Please log in</html>")]
    with pytest.raises(DataError, match=rf"^Cannot read {options.source} as a zip or tar archive: "):
        scan_source(options)
    assert cached_files(home) == []
    assert scan_source(options).class_names == ["Cat", "Dog"]
    assert len(site.requests) == 2


def test_archive_deleted_by_another_run_is_not_an_error(
    site: Site, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def extract_and_delete(archive: Path, folder: Path, encoding: str) -> Path:
        shutil.copytree(photos, folder)
        archive.unlink()
        return folder

    serve_archive(site, pack(photos))
    monkeypatch.setattr("cnn_classifier.data.sources.resolve.extract_archive", extract_and_delete)
    assert scan_source(DatasetConfig(source=f"{site.address}/photos.zip")).class_names == ["Cat", "Dog"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source": "here/none"}, "dataset.source: here/none does not exist. Expected a folder with one folder of"),
        ({"root": "here/none.zip"}, "dataset.root: here/none.zip does not exist. Expected a folder"),
        ({"source": "here/notes.txt"}, "dataset.source: here/notes.txt is not a folder, a zip or tar archive"),
        ({"source": "http://example.invalid/photos.zip"}, "http://example.invalid/photos.zip is not an https URL"),
    ],
)
def test_invalid_source_raises_data_error(
    tmp_path: Path, options: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "notes.txt").write_text("cats and dogs", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as raised:
        scan_source(DatasetConfig(**options))
    assert str(raised.value).startswith(message)


def test_dataset_without_source_names_its_homepage() -> None:
    options_hint = r"Set dataset\.source=FOLDER\|ZIP\|TAR\|CSV\|URL or dataset\.root=FOLDER\.$"
    for name, hint in (("animals10", r"Download it from https://www\.kaggle\.com/.*10\. "), ("happy_sad", "")):
        options = DatasetConfig(**to_container(load_config([f"dataset={name}"]).dataset))
        with pytest.raises(
            ConfigError, match=rf"^dataset\.source is not set for dataset '{name}'\. {hint}{options_hint}"
        ):
            scan_source(options)


def test_split_folders_without_train_dir_raise_config_error(make_folder: MakeFolder) -> None:
    root = make_folder({"learn/cats": 1, "learn/dogs": 1, "exam/cats": 1, "exam/dogs": 2}, size=8)
    options = DatasetConfig(root=str(root), train_dir="learn", test_dir="exam")
    assert count_images(scan_source(options)) == {
        ("train", "cats"): 1,
        ("train", "dogs"): 1,
        ("test", "cats"): 1,
        ("test", "dogs"): 2,
    }
    with pytest.raises(
        ConfigError, match=r"^dataset\.train_dir is not set\. Set it together with dataset\.val_dir and"
    ):
        scan_source(DatasetConfig(root=str(root), test_dir="exam"))


def test_renamed_classes_are_grouped_by_original_paths(make_folder: MakeFolder) -> None:
    root = make_folder({"cane/litter1": 2, "cane/litter2": 1, "gatto/litter3": 1}, size=8)
    index = scan_source(
        DatasetConfig(
            source=str(root), rename_classes={"cane": "dog", "gatto": "cat"}, group_pattern=r"cane/litter(\d)"
        )
    )
    assert index.class_names == ["cat", "dog"]
    assert [(index.class_names[sample.label], sample.path.parent.parent.name) for sample in index.samples] == [
        ("dog", "cane")
    ] * 3 + [("cat", "gatto")]
    assert [sample.group for sample in index.samples] == ["1", "1", "2", None]


def test_digits_are_written_from_scikit_learn(home: Path) -> None:
    index = scan_source(DatasetConfig(source="digits"))
    assert (len(index.samples), index.class_names) == (1797, [str(digit) for digit in range(10)])
    assert index.root == home / "datasets" / "digits"


def test_cats_dogs_takes_max_per_class_readable_images(site: Site, make_folder: MakeFolder, home: Path) -> None:
    root = make_folder({"PetImages/Cat": 12, "PetImages/Dog": 11}, size=8)
    for name in ("Cat/666.jpg", "Dog/11702.jpg"):  # as in the original
        (root / "PetImages" / name).write_bytes(b"")
    (root / "PetImages" / "Dog" / "10.jpg").write_text("no photo", encoding="utf-8")
    (root / "PetImages" / "Dog" / "Thumbs.db").write_bytes(b"Windows")
    (root / "MSR-LA - 3467.docx").write_bytes(b"licence")
    options = named_config(
        "cats_dogs",
        site,
        f"dataset.checksum={serve_archive(site, pack(root))}",
        "dataset.max_per_class=10",
        "dataset.max_unreadable=0.5",
        "dataset.image_size=16",
    )

    for seed in (1, 2):
        index = scan_source(options)
        prepared = prepare_images(index, options, seed)
        taken = {
            split: Counter(index.class_names[sample.label] for sample in samples)
            for split, samples in prepared.splits.items()
        }
        assert taken == {
            "train": {"Cat": 7, "Dog": 7},
            "val": {"Cat": 1, "Dog": 1},
            "test": {"Cat": 2, "Dog": 2},
        }
        assert all(sample.path.suffix == ".png" for samples in prepared.splits.values() for sample in samples)
    assert site.requests == [("/kagglecatsanddogs_5340.zip", None)]
    assert cached_files(home / "downloads") == []


def test_cats_dogs_defaults_to_a_balanced_subset() -> None:
    options = DatasetConfig(**to_container(load_config(["dataset=cats_dogs"]).dataset))
    assert (options.max_per_class, options.test_fraction) == (2500, 0.2)  # 4,000 training images, 1,000 test images
    assert options.sources[0].startswith("https://download.microsoft.com/")


def test_cats_dogs_without_max_per_class_uses_all_images() -> None:
    assert load_config(["dataset=cats_dogs", "dataset.max_per_class=null"]).dataset.max_per_class is None


def test_flowers_wrapper_folder_is_skipped(site: Site, make_folder: MakeFolder) -> None:
    root = make_folder({"flower_photos/roses": 1, "flower_photos/tulips": 2}, size=8)
    (root / "flower_photos" / "LICENSE.txt").write_text("CC-BY", encoding="utf-8")
    checksum = serve_archive(site, pack(root, "gztar"))
    index = scan_source(named_config("flowers", site, f"dataset.checksum={checksum}"))
    assert count_images(index) == {(None, "roses"): 1, (None, "tulips"): 2}
    assert site.requests == [("/flower_photos.tgz", None)]


def test_imagenette_has_a_val_split_and_readable_class_names(site: Site, make_folder: MakeFolder) -> None:
    root = make_folder({f"imagenette2-160/{split}/n0{n}": 1 for split in ("train", "val") for n in (1440764, 3000684)})
    (root / "imagenette2-160" / "noisy_imagenette.csv").write_text("path,noisy_labels_0", encoding="utf-8")
    checksum = serve_archive(site, pack(root, "gztar"))
    index = scan_source(named_config("imagenette", site, f"dataset.checksum={checksum}"))
    assert count_images(index) == dict.fromkeys(
        [(split, name) for split in ("train", "val") for name in ("chain saw", "tench")], 1
    )


def test_cifar10_is_read_from_binary_files(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(named_datasets, "CIFAR_RECORDS", 10)
    folder = tmp_path / "cifar" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    records = np.arange(10 * 3073, dtype=np.uint32).astype(np.uint8).reshape(10, 3073)
    records[:, 0] = range(10)
    for name in [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]:
        records.tofile(folder / name)
    options = named_config("cifar10", site, f"dataset.checksum={serve_archive(site, pack(folder.parent, 'gztar'))}")

    index = scan_source(options)

    assert index.class_names == list(named_datasets.CIFAR_CLASSES)
    assert count_images(index) == {
        (split, name): count for split, count in (("train", 5), ("test", 1)) for name in index.class_names
    }
    assert scan_source(options) == index
    assert len(site.requests) == 1


def test_pets_are_read_from_two_archives(site: Site, make_folder: MakeFolder, tmp_path: Path, home: Path) -> None:
    photos = make_folder({"images": 4}, size=8)
    lists = tmp_path / "lists" / "annotations"
    lists.mkdir(parents=True)
    breeds = ["Abyssinian_1", "Abyssinian_2", "american_bulldog_7", "american_bulldog_10"]
    for png, name in zip(sorted(photos.rglob("*.png")), breeds, strict=True):
        png.rename(png.with_name(f"{name}.jpg"))
    for file, names in (("trainval.txt", breeds[::2]), ("test.txt", breeds[1::2])):
        (lists / file).write_text("".join(f"{name} 1 1 1\n" for name in names), encoding="utf-8")
    archives = [pack(folder, "gztar").read_bytes() for folder in (photos, lists.parent)]
    site.faults = [respond_with(200, content) for content in archives]
    checksums = ",".join(f"md5:{hashlib.md5(content, usedforsecurity=False).hexdigest()}" for content in archives)
    options = named_config("pets", site, f"dataset.checksum=[{checksums}]")

    index = scan_source(options)

    assert count_images(index) == {
        (split, breed): 1 for split in ("train", "test") for breed in ("Abyssinian", "American Bulldog")
    }
    assert scan_source(options) == index
    assert site.requests == [("/images.tar.gz", None), ("/annotations.tar.gz", None)]
    assert cached_files(home / "downloads") == []


def test_evaluation_source_may_be_a_folder_archive_or_csv_and_uses_its_test_split(
    make_folder: MakeFolder, tmp_path: Path
) -> None:
    split = make_folder({"train/cats": 3, "train/dogs": 3, "test/cats": 2, "test/dogs": 1}, name="split")
    plain = make_folder({"cats": 2, "dogs": 1}, name="plain")
    shutil.make_archive(str(tmp_path / "split"), "zip", split)
    rows = [f"{path.as_posix()},{path.parent.name},{path.parent.parent.name}" for path in split.rglob("*.png")]
    (tmp_path / "split.csv").write_text("\n".join(["path,label,split", *rows]), encoding="utf-8")
    for source in (split, tmp_path / "split.zip", tmp_path / "split.csv", plain):
        index = scan_for_evaluation(source)
        assert [(index.class_names[sample.label], sample.path.name) for sample in index.samples] == [
            ("cats", "000.png"),
            ("cats", "001.png"),
            ("dogs", "000.png"),
        ]
    with pytest.raises(DataError, match=r"^FOLDER: .*nowhere does not exist"):
        scan_for_evaluation(tmp_path / "nowhere")
