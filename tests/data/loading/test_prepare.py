"""From a folder to what a training reads: only readable images, nothing torn apart, the same pixels however kept."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cnn_classifier.data.config import DatasetConfig
from cnn_classifier.data.loading.image_store import CachedImages, StreamedImages
from cnn_classifier.data.loading.prepare import PreparedDataset, prepare_images
from cnn_classifier.data.sources.folder import scan_root
from cnn_classifier.data.sources.index import DatasetIndex
from cnn_classifier.data.splits.groups import assign_groups
from cnn_classifier.data.splits.split_csv import write_split
from cnn_classifier.errors import DataError

pytestmark = pytest.mark.usefixtures("home")

MakeFolder = Callable[..., Path]


@pytest.fixture
def root(make_folder: MakeFolder) -> Path:
    return make_folder({"cats": 20, "dogs": 20})


def prepared(scan: DatasetIndex | Path, *, seed: int = 1, **options: Any) -> PreparedDataset:
    scan = scan if isinstance(scan, DatasetIndex) else scan_root(scan)
    return prepare_images(scan, DatasetConfig(**{"image_size": 8, "channels": 3, **options}), seed)


def files(found: PreparedDataset) -> dict[str, set[Path]]:
    return {split: {sample.path for sample in samples} for split, samples in found.splits.items()}


def train_pixels(found: PreparedDataset) -> np.ndarray:
    [pixels] = found.store.iter_batches([found.store.get_rows([sample.path for sample in found.splits["train"]])])
    return pixels


def test_unreadable_images_are_left_out_and_listed(root: Path) -> None:
    (root / "cats" / "003.png").write_bytes(b"")
    found = prepared(root)
    assert root / "cats" / "003.png" not in set().union(*files(found).values())
    assert sum(map(len, found.splits.values())) == 39
    assert found.summary["images"] == 40
    assert found.summary["unreadable"] == [{"path": "cats/003.png", "reason": "the file is empty"}]


def test_a_limit_takes_others_in_place_of_the_unreadable(root: Path) -> None:
    usual = set().union(*files(prepared(root, max_per_class=10)).values())
    for path in sorted(usual)[:3]:
        path.write_bytes(b"")
    chosen = set().union(*files(prepared(root, max_per_class=10, max_unreadable=0.2)).values())
    assert len(chosen) == 20
    assert len(usual - chosen) == 3
    assert [path.parent.name for path in chosen].count("cats") == 10


def test_more_unreadable_images_than_the_limit_end_the_run(root: Path) -> None:
    for index in range(3):
        (root / "cats" / f"00{index}.png").write_bytes(b"")
    with pytest.raises(DataError) as raised:
        prepared(root)
    assert str(raised.value) == (
        f"3 of 40 images (7.5%) cannot be read, such as {root / 'cats' / '000.png'}: the file is empty; "
        "expected at most 5% (dataset.max_unreadable); `cnn-classifier data check` lists them all"
    )
    assert len(prepared(root, max_unreadable=0.075).summary["unreadable"]) == 3
    with pytest.raises(DataError, match=r"expected at most 0% \(dataset\.max_unreadable\)"):
        prepared(root, max_unreadable=0)


def test_with_on_bad_error_a_single_one_ends_the_run(root: Path) -> None:
    (root / "dogs" / "007.png").write_bytes(b"")
    with pytest.raises(
        DataError, match=r"007\.png cannot be read \(the file is empty\), and so 1 of 40 images; mend or"
    ):
        prepared(root, on_unreadable="error")


def test_images_that_can_none_be_read_are_an_error_with_the_first_reason(root: Path) -> None:
    for path in root.rglob("*.png"):
        path.write_text("not found", encoding="utf-8")
    with pytest.raises(DataError, match=r"^none of the 40 images can be read; the first is .*\.png: not an image"):
        prepared(root, max_unreadable=1)


def test_classes_missing_in_a_split_are_noted_with_the_margin_of_small_splits(make_folder: MakeFolder) -> None:
    root = make_folder({"train/cats": 9, "train/dogs": 9, "test/cats": 3, "test/dogs": 2, "train/owls": 1})
    for path in (root / "test" / "dogs").iterdir():
        path.write_bytes(b"")
    found = prepared(root, max_unreadable=0.5)
    assert found.summary["notes"] == [
        "Classes without images in a split: dogs (test), owls (val, test). They have no metrics there.",
        "Classes with fewer than 10 training images: owls (1), cats (8), dogs (8). Expect many mistakes on them unless "
        "the network is pretrained; add images.",
        "Few images to measure the accuracy on: val 2 images (\N{PLUS-MINUS SIGN}41 percentage points), "
        "test 3 images (\N{PLUS-MINUS SIGN}37 percentage points).",
    ]
    (root / "split.csv").write_text(
        "path,label,split\ntrain/cats/000.png,cats,train\ntrain/dogs/000.png,dogs,train\n"
        "train/cats/001.png,cats,val\ntrain/owls/000.png,owls,test\ntest/cats/000.png,cats,test\n",
        encoding="utf-8",
    )
    found = prepared(root, split_file=str(root / "split.csv"))
    assert found.summary["notes"][0] == (
        "Classes without training images: owls. They are never predicted, and 1 image of them in other splits are left "
        "out."
    )
    assert {split: len(samples) for split, samples in found.splits.items()} == {"train": 2, "val": 1, "test": 1}


@pytest.mark.parametrize("options", [{}, *({"folds": 3, "fold": fold} for fold in range(3))])
def test_copies_and_groups_stay_on_one_side(root: Path, options: dict[str, int]) -> None:
    for index in range(10):
        shutil.copy(root / "cats" / f"00{index}.png", root / "cats" / f"twin{index}.png")
    scan = assign_groups(scan_root(root), r"dogs/\d\d(\d)")
    found = prepared(scan, **options)
    for index in range(10):
        for pair in (("cats", f"00{index}", f"twin{index}"), ("dogs", f"00{index}", f"01{index}")):
            together = {root / pair[0] / f"{name}.png" for name in pair[1:]}
            assert any(together <= held for held in files(found).values())
    assert [group["kind"] for group in found.summary["duplicates"]] == ["exact"] * 10


def test_frames_of_one_camera_can_be_trained_on(make_folder: MakeFolder) -> None:
    root = make_folder({"good": 1, "scratched": 1})
    scene = np.kron(np.random.default_rng(0).integers(40, 200, (8, 8, 3)), np.ones((8, 8, 1)))
    for index in range(40):
        noise = np.random.default_rng(index).normal(0, 4, scene.shape)
        frame = Image.fromarray((scene + noise).clip(0, 255).astype(np.uint8))
        frame.save(root / ("good" if index % 2 else "scratched") / f"{index // 2:03d}.png")
    found = prepared(root)
    assert [len(group["paths"]) for group in found.summary["duplicates"]] == [40]
    assert {split: len(held) for split, held in files(found).items()} == {"train": 28, "val": 4, "test": 8}


def test_a_split_file_brings_the_same_images_back_whatever_else_is_asked(root: Path, tmp_path: Path) -> None:
    scan = scan_root(root)
    first = prepared(scan, max_per_class=15)
    write_split(tmp_path / "split.csv", first.splits, scan)
    again = prepared(scan, split_file=str(tmp_path / "split.csv"), seed=7, max_per_class=5, test_fraction=0.5)
    assert files(again) == files(first)
    assert again.summary["splits"]["val"] == {"cats": 2, "dogs": 2}
    broken = sorted(files(first)["train"])[0]
    broken.write_bytes(b"")
    assert files(prepared(scan, split_file=str(tmp_path / "split.csv"))) == {
        **files(first),
        "train": files(first)["train"] - {broken},
    }


@pytest.mark.parametrize("channels", [1, 3])
def test_mean_and_standard_deviation_are_those_of_the_training_pixels(root: Path, channels: int) -> None:
    found = prepared(root, channels=channels)
    pixels = train_pixels(found) / 255
    assert found.preprocess.mean == pytest.approx(pixels.mean(axis=(0, 1, 2)), abs=1e-4)
    assert found.preprocess.std == pytest.approx(pixels.std(axis=(0, 1, 2)), abs=1e-4)


def test_mean_and_standard_deviation_that_are_given_stay(root: Path) -> None:
    assert (
        prepared(root, mean=[0.5], std=[0.2]).preprocess
        == DatasetConfig(image_size=8, mean=[0.5], std=[0.2]).preprocess
    )
    found = prepared(root, mean=[0.5, 0.4, 0.3])
    assert found.preprocess.mean == (0.5, 0.4, 0.3)
    assert found.preprocess.std == prepared(root).preprocess.std


def test_a_channel_of_one_value_can_be_divided_by(root: Path) -> None:
    for index, path in enumerate(sorted(root.rglob("*.png"))):  # 160: rounding gives it a variance below 0
        Image.new("RGB", (8, 8), (160, 6 * index, 255)).save(path)
    found = prepared(root).preprocess
    assert found.std[0] == found.std[2] == round(1 / 255, 4)
    assert found.mean[2] == 1


def test_however_the_pixels_are_kept_they_are_the_same(root: Path, home: Path) -> None:
    shutil.copy(root / "cats" / "000.png", root / "cats" / "twin.png")
    kept = {cache: prepared(root, cache=cache) for cache in ("none", "ram", "auto", "disk")}
    pixels = {cache: train_pixels(found) for cache, found in kept.items()}
    expected = [kept["none"].preprocess.load(sample.path) for sample in kept["none"].splits["train"]]
    assert all(np.array_equal(found, expected) for found in pixels.values())
    assert {cache: type(found.store) for cache, found in kept.items()} == {
        "none": StreamedImages,
        "ram": CachedImages,
        "auto": CachedImages,
        "disk": CachedImages,
    }
    assert len(list((home / "packed").glob("*/images.npy"))) == 1
    assert len({found.preprocess for found in kept.values()}) == 1


def test_a_second_run_decodes_nothing_and_another_seed_shares_the_pixels(
    root: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = prepared(root)
    monkeypatch.delattr(Image, "open")
    again = prepared(root)
    assert np.array_equal(train_pixels(again), train_pixels(first))
    assert (again.summary, again.splits, again.preprocess) == (first.summary, first.splits, first.preprocess)
    assert files(prepared(root, seed=2)) != files(first)
    assert len(list((home / "packed").glob("*/images.npy"))) == 1


def test_an_image_is_decoded_once_for_check_and_pixels(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[Path] = []
    open_image = Image.open
    monkeypatch.setattr(
        Image, "open", lambda source, **options: decoded.append(source) or open_image(source, **options)
    )
    prepared(root)
    assert sorted(decoded) == sorted(root.rglob("*.png"))


def test_what_is_too_big_is_streamed(root: Path, home: Path) -> None:
    assert isinstance(prepared(root, cache_limit_gb=1e-6).store, StreamedImages)
    assert not (home / "packed").exists()
