"""Whatever a user names, a folder, an archive, a CSV or an address, the same pictures come of it."""

import hashlib
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.download_site import Site, answering, serving

from cnn_classifier.config.compose import load_config, to_container
from cnn_classifier.data.config import DatasetConfig
from cnn_classifier.data.loading.prepare import prepare_images
from cnn_classifier.data.sources import named_datasets as public
from cnn_classifier.data.sources.index import DatasetIndex
from cnn_classifier.data.sources.resolve import scan_for_evaluation, scan_source
from cnn_classifier.errors import ConfigError, DataError
from cnn_classifier.files import write_csv

MakeFolder = Callable[..., Path]
AWAY = "https://example.invalid/data/photos.zip"


@pytest.fixture(autouse=True)
def no_mirror(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None but the test's own."""
    monkeypatch.delenv("CNN_CLASSIFIER_MIRROR", raising=False)


@pytest.fixture
def photos(make_folder: MakeFolder) -> Path:
    """As in Microsoft's archive, the folders of the classes lie in a folder of their own."""
    root = make_folder({"PetImages/Cat": 2, "PetImages/Dog": 3}, size=8)
    (root / "PetImages" / "Cat" / "Thumbs.db").write_bytes(b"Windows")
    (root / "readme[1].txt").write_text("Microsoft", encoding="utf-8")
    return root


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as site:
        yield site


def packed(folder: Path, kind: str = "zip") -> Path:
    """An archive of what a folder holds, beside it: kind `zip`, `tar` or `gztar`."""
    return Path(shutil.make_archive(str(folder.parent / f"{folder.name}-packed"), kind, folder))


def served(site: Site, archive: Path) -> str:
    """Serve an archive under any address; what it must be, as `dataset.checksum` wants it."""
    site.content = archive.read_bytes()
    return f"sha256:{hashlib.sha256(site.content).hexdigest()}"


def pictures(scan: DatasetIndex) -> list[tuple[str, bytes]]:
    """The class and the content of every image."""
    return sorted((scan.class_names[sample.label], sample.path.read_bytes()) for sample in scan.samples)


def counts(scan: DatasetIndex) -> dict[tuple[str | None, str], int]:
    """The number of images by split folder and class."""
    return Counter((sample.split, scan.class_names[sample.label]) for sample in scan.samples)


def kept(folder: Path) -> list[str]:
    """The files below a folder of the cache, without locks."""
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")


def named(name: str, site: Site, *words: str) -> DatasetConfig:
    """A data set of ours, asked for by its name alone, but from a mirror on this machine."""
    return DatasetConfig(
        **to_container(load_config([f"dataset={name}", f"dataset.mirror={site.address}", *words]).dataset)
    )


@pytest.mark.parametrize("kind", ["folder", "zip", "tar", "gztar", "csv"])
@pytest.mark.parametrize("key", ["source", "root"])
def test_folder_archive_and_table_give_the_same_pictures(photos: Path, kind: str, key: str) -> None:
    expected = sorted((path.parent.name, path.read_bytes()) for path in photos.rglob("*.png"))
    place = photos if kind == "folder" else photos / "photos.csv"
    if kind == "csv":
        names = [path.relative_to(photos).as_posix() for path in photos.rglob("*.png")]
        write_csv(place, [("path", "label"), *((name, name.split("/")[1]) for name in names)])
    elif kind != "folder":
        place = packed(photos, kind)
    scan = scan_source(DatasetConfig(**{key: str(place)}))
    assert scan.class_names == ["Cat", "Dog"]
    assert pictures(scan) == expected
    assert scan.ignored == ({} if kind == "csv" else {".db": 1})


def test_a_local_archive_stays_and_is_unpacked_once(photos: Path, home: Path) -> None:
    archive = packed(photos)
    first = scan_source(DatasetConfig(source=str(archive)))
    first.samples[0].path.unlink()
    assert len(scan_source(DatasetConfig(source=str(archive))).samples) == 4  # not unpacked again
    (photos / "PetImages" / "Cat" / "001.png").unlink()
    packed(photos)
    assert counts(scan_source(DatasetConfig(source=str(archive)))) == {(None, "Cat"): 1, (None, "Dog"): 3}
    assert archive.is_file()
    assert kept(home / "downloads") == []


@pytest.mark.parametrize("pinned", [True, False], ids=["checksum", "no checksum"])
def test_an_address_is_asked_once_and_its_archive_deleted(site: Site, photos: Path, home: Path, pinned: bool) -> None:
    checksum = served(site, packed(photos))
    options = DatasetConfig(source=f"{site.address}/photos.zip", checksum=checksum if pinned else None)
    first = scan_source(options)
    assert counts(first) == {(None, "Cat"): 2, (None, "Dog"): 3}
    assert kept(home / "downloads") == []
    first.samples[0].path.unlink()
    assert len(scan_source(options).samples) == 4
    assert site.asked == [("/photos.zip", None)]


@pytest.mark.parametrize("by", ["option", "environment"])
def test_a_mirror_stands_in_for_the_address(site: Site, photos: Path, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    checksum = served(site, packed(photos))
    mirror = f"{site.address}/mirror"
    if by == "environment":
        monkeypatch.setenv("CNN_CLASSIFIER_MIRROR", mirror)
    options = DatasetConfig(source=AWAY, checksum=checksum, mirror=mirror if by == "option" else None)
    assert scan_source(options).class_names == ["Cat", "Dog"]
    assert site.asked == [("/mirror/photos.zip", None)]


def test_a_wrong_checksum_leaves_nothing(site: Site, photos: Path, home: Path) -> None:
    right = served(site, packed(photos))
    wrong = f"sha256:{'0' * 64}"
    with pytest.raises(
        DataError, match=rf"^Checksum mismatch for {AWAY}: expected {wrong}, got {right}\. The file was damaged"
    ):
        scan_source(DatasetConfig(source=AWAY, checksum=wrong, mirror=site.address))
    assert kept(home) == []


def test_an_address_that_holds_no_archive_is_told_and_asked_anew(site: Site, photos: Path, home: Path) -> None:
    options = DatasetConfig(source=f"{site.address}/photos.zip")
    served(site, packed(photos))
    site.faults = [answering(200, b"<html>Please log in</html>")]
    with pytest.raises(DataError, match=rf"^Cannot read {options.source} as a zip or tar archive: "):
        scan_source(options)
    assert kept(home) == []
    assert scan_source(options).class_names == ["Cat", "Dog"]
    assert len(site.asked) == 2


def test_another_run_may_delete_the_archive_first(site: Site, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unpack_and_lose(archive: Path, folder: Path) -> Path:
        shutil.copytree(photos, folder)
        archive.unlink()
        return folder

    served(site, packed(photos))
    monkeypatch.setattr("cnn_classifier.data.sources.resolve.extract_archive", unpack_and_lose)
    assert scan_source(DatasetConfig(source=f"{site.address}/photos.zip")).class_names == ["Cat", "Dog"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"source": "here/none"}, "dataset.source: here/none does not exist. Expected a folder with one folder of"),
        ({"root": "here/none.zip"}, "dataset.root: here/none.zip does not exist. Expected a folder"),
        ({"source": "here/notes.txt"}, "dataset.source: here/notes.txt is not a folder, a zip or tar archive"),
        ({"source": "http://example.invalid/photos.zip"}, "http://example.invalid/photos.zip is not an https URL"),
    ],
)
def test_what_leads_nowhere_is_told(
    tmp_path: Path, options: dict[str, str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "notes.txt").write_text("cats and dogs", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as raised:
        scan_source(DatasetConfig(**options))
    assert str(raised.value).startswith(told)


def test_a_data_set_without_source_says_where_it_is_to_be_had() -> None:
    options_hint = r"Set dataset\.source=FOLDER\|ZIP\|TAR\|CSV\|URL or dataset\.root=FOLDER\.$"
    for name, hint in (("animals10", r"Download it from https://www\.kaggle\.com/.*10\. "), ("happy_sad", "")):
        options = DatasetConfig(**to_container(load_config([f"dataset={name}"]).dataset))
        with pytest.raises(
            ConfigError, match=rf"^dataset\.source is not set for dataset '{name}'\. {hint}{options_hint}"
        ):
            scan_source(options)


def test_named_folders_need_one_to_train_on(make_folder: MakeFolder) -> None:
    root = make_folder({"learn/cats": 1, "learn/dogs": 1, "exam/cats": 1, "exam/dogs": 2}, size=8)
    given = DatasetConfig(root=str(root), train_dir="learn", test_dir="exam")
    assert counts(scan_source(given)) == {
        ("train", "cats"): 1,
        ("train", "dogs"): 1,
        ("test", "cats"): 1,
        ("test", "dogs"): 2,
    }
    with pytest.raises(
        ConfigError, match=r"^dataset\.train_dir is not set\. Set it together with dataset\.val_dir and"
    ):
        scan_source(DatasetConfig(root=str(root), test_dir="exam"))


def test_classes_are_renamed_and_images_grouped_by_their_own_paths(make_folder: MakeFolder) -> None:
    root = make_folder({"cane/litter1": 2, "cane/litter2": 1, "gatto/litter3": 1}, size=8)
    scan = scan_source(
        DatasetConfig(
            source=str(root), rename_classes={"cane": "dog", "gatto": "cat"}, group_pattern=r"cane/litter(\d)"
        )
    )
    assert scan.class_names == ["cat", "dog"]
    assert [(scan.class_names[sample.label], sample.path.parent.parent.name) for sample in scan.samples] == [
        ("dog", "cane")
    ] * 3 + [("cat", "gatto")]
    assert [sample.group for sample in scan.samples] == ["1", "1", "2", None]


def test_digits_come_with_scikit_learn(home: Path) -> None:
    scan = scan_source(DatasetConfig(source="digits"))
    assert (len(scan.samples), scan.class_names) == (1797, [str(digit) for digit in range(10)])
    assert scan.root == home / "datasets" / "digits"


def test_cats_dogs_downloads_and_takes_as_many_readable_photos_of_each(
    site: Site, make_folder: MakeFolder, home: Path
) -> None:
    root = make_folder({"PetImages/Cat": 12, "PetImages/Dog": 11}, size=8)
    for name in ("Cat/666.jpg", "Dog/11702.jpg"):  # as in the original
        (root / "PetImages" / name).write_bytes(b"")
    (root / "PetImages" / "Dog" / "10.jpg").write_text("no photo", encoding="utf-8")
    (root / "PetImages" / "Dog" / "Thumbs.db").write_bytes(b"Windows")
    (root / "MSR-LA - 3467.docx").write_bytes(b"licence")
    options = named(
        "cats_dogs",
        site,
        f"dataset.checksum={served(site, packed(root))}",
        "dataset.max_per_class=10",
        "dataset.max_unreadable=0.5",
        "dataset.image_size=16",
    )

    for seed in (1, 2):
        scan = scan_source(options)
        prepared = prepare_images(scan, options, seed)
        taken = {
            split: Counter(scan.class_names[sample.label] for sample in samples)
            for split, samples in prepared.splits.items()
        }
        assert taken == {
            "train": {"Cat": 7, "Dog": 7},
            "val": {"Cat": 1, "Dog": 1},
            "test": {"Cat": 2, "Dog": 2},
        }
        assert all(sample.path.suffix == ".png" for samples in prepared.splits.values() for sample in samples)
    assert site.asked == [("/kagglecatsanddogs_5340.zip", None)]
    assert kept(home / "downloads") == []


def test_cats_dogs_is_the_balanced_set_of_microsoft_unless_told_otherwise() -> None:
    options = DatasetConfig(**to_container(load_config(["dataset=cats_dogs"]).dataset))
    assert (options.max_per_class, options.test_fraction) == (2500, 0.2)  # 4,000 to learn from, 1,000 to test
    assert options.sources[0].startswith("https://download.microsoft.com/")


def test_cats_dogs_without_a_limit_is_all_of_it() -> None:
    assert load_config(["dataset=cats_dogs", "dataset.max_per_class=null"]).dataset.max_per_class is None


def test_flowers_lie_in_a_folder_of_their_own(site: Site, make_folder: MakeFolder) -> None:
    root = make_folder({"flower_photos/roses": 1, "flower_photos/tulips": 2}, size=8)
    (root / "flower_photos" / "LICENSE.txt").write_text("CC-BY", encoding="utf-8")
    checksum = served(site, packed(root, "gztar"))
    scan = scan_source(named("flowers", site, f"dataset.checksum={checksum}"))
    assert counts(scan) == {(None, "roses"): 1, (None, "tulips"): 2}
    assert site.asked == [("/flower_photos.tgz", None)]


def test_imagenette_has_a_validation_set_and_names_that_people_know(site: Site, make_folder: MakeFolder) -> None:
    root = make_folder({f"imagenette2-160/{split}/n0{n}": 1 for split in ("train", "val") for n in (1440764, 3000684)})
    (root / "imagenette2-160" / "noisy_imagenette.csv").write_text("path,noisy_labels_0", encoding="utf-8")
    checksum = served(site, packed(root, "gztar"))
    scan = scan_source(named("imagenette", site, f"dataset.checksum={checksum}"))
    assert counts(scan) == dict.fromkeys(
        [(split, name) for split in ("train", "val") for name in ("chain saw", "tench")], 1
    )


def test_cifar10_comes_as_binary_files(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(public, "CIFAR_RECORDS", 10)
    folder = tmp_path / "cifar" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    records = np.arange(10 * 3073, dtype=np.uint32).astype(np.uint8).reshape(10, 3073)
    records[:, 0] = range(10)
    for name in [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]:
        records.tofile(folder / name)
    options = named("cifar10", site, f"dataset.checksum={served(site, packed(folder.parent, 'gztar'))}")

    scan = scan_source(options)

    assert scan.class_names == list(public.CIFAR_CLASSES)
    assert counts(scan) == {
        (split, name): count for split, count in (("train", 5), ("test", 1)) for name in scan.class_names
    }
    assert scan_source(options) == scan
    assert len(site.asked) == 1


def test_pets_come_in_two_archives(site: Site, make_folder: MakeFolder, tmp_path: Path, home: Path) -> None:
    photos = make_folder({"images": 4}, size=8)
    lists = tmp_path / "lists" / "annotations"
    lists.mkdir(parents=True)
    breeds = ["Abyssinian_1", "Abyssinian_2", "american_bulldog_7", "american_bulldog_10"]
    for png, name in zip(sorted(photos.rglob("*.png")), breeds, strict=True):
        png.rename(png.with_name(f"{name}.jpg"))
    for file, names in (("trainval.txt", breeds[::2]), ("test.txt", breeds[1::2])):
        (lists / file).write_text("".join(f"{name} 1 1 1\n" for name in names), encoding="utf-8")
    archives = [packed(folder, "gztar").read_bytes() for folder in (photos, lists.parent)]
    site.faults = [answering(200, content) for content in archives]
    checksums = ",".join(f"md5:{hashlib.md5(content, usedforsecurity=False).hexdigest()}" for content in archives)
    options = named("pets", site, f"dataset.checksum=[{checksums}]")

    scan = scan_source(options)

    assert counts(scan) == {
        (split, breed): 1 for split in ("train", "test") for breed in ("Abyssinian", "American Bulldog")
    }
    assert scan_source(options) == scan
    assert site.asked == [("/images.tar.gz", None), ("/annotations.tar.gz", None)]
    assert kept(home / "downloads") == []


def test_what_is_evaluated_may_be_a_folder_an_archive_or_a_csv_and_its_test_split_alone_counts(
    make_folder: MakeFolder, tmp_path: Path
) -> None:
    split = make_folder({"train/cats": 3, "train/dogs": 3, "test/cats": 2, "test/dogs": 1}, name="split")
    plain = make_folder({"cats": 2, "dogs": 1}, name="plain")
    shutil.make_archive(str(tmp_path / "split"), "zip", split)
    rows = [f"{path.as_posix()},{path.parent.name},{path.parent.parent.name}" for path in split.rglob("*.png")]
    (tmp_path / "split.csv").write_text("\n".join(["path,label,split", *rows]), encoding="utf-8")
    for place in (split, tmp_path / "split.zip", tmp_path / "split.csv", plain):
        scan = scan_for_evaluation(place)
        assert [(scan.class_names[sample.label], sample.path.name) for sample in scan.samples] == [
            ("cats", "000.png"),
            ("cats", "001.png"),
            ("dogs", "000.png"),
        ]
    with pytest.raises(DataError, match=r"^FOLDER: .*nowhere does not exist"):
        scan_for_evaluation(tmp_path / "nowhere")
