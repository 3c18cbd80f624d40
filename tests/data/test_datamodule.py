"""Batches are what they should be, in an order that a seed and an epoch decide."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from cnn_classifier.data.datamodule import ImageFolderDataModule
from cnn_classifier.data.loading.loader import EpochSampler
from cnn_classifier.data.parallel import training_slices

MakeFolder = Callable[..., Path]


def make_data(root: Path, **options: Any) -> ImageFolderDataModule:
    return ImageFolderDataModule(root, augment="none", **{"image_size": 8, "batch_size": 4, **options})


@pytest.fixture
def root(make_folder: MakeFolder) -> Path:
    return make_folder({"train/cats": 9, "train/dogs": 9, "test/cats": 3, "test/dogs": 2})


LABELS = np.repeat([0, 1, 2], [30, 6, 3])


@pytest.mark.parametrize("sampler", ["shuffle", "balanced"])
def test_the_order_depends_on_seed_and_epoch_alone(sampler: str) -> None:
    def order(seed: int, epoch: int) -> list[int]:
        shuffled = EpochSampler(LABELS, seed=seed, mode=sampler)
        for passed in range(epoch + 1):
            shuffled.set_epoch(passed)
        return shuffled.indices().tolist()

    resumed = EpochSampler(LABELS, seed=1, mode=sampler)
    resumed.set_epoch(3)
    assert resumed.indices().tolist() == order(1, 3)
    assert len({tuple(order(1, 2)), tuple(order(1, 3)), tuple(order(2, 3))}) == 3


def test_a_shuffled_epoch_shows_every_image_once_and_without_a_sampler_in_order() -> None:
    assert sorted(EpochSampler(LABELS, seed=1, mode="shuffle").indices()) == list(range(39))
    assert EpochSampler(LABELS, seed=1, mode=None).indices().tolist() == list(range(39))


def test_a_balanced_epoch_draws_as_many_of_every_class_each_image_as_often_as_can_be() -> None:
    balanced = EpochSampler(LABELS, seed=1, mode="balanced")
    shown = np.zeros(len(LABELS), int)
    for epoch in range(4):
        balanced.set_epoch(epoch)
        drawn = np.bincount(balanced.indices(), minlength=len(LABELS))
        assert [drawn[label == LABELS].sum() for label in range(3)] == [13, 13, 13]
        assert drawn[LABELS == 0].max() == 1
        assert set(drawn[LABELS == 1]) == {2, 3}
        assert set(drawn[LABELS == 2]) <= {4, 5}
        shown += drawn
    assert (shown[LABELS == 0] > 0).sum() > 13  # others by turns


def test_a_balanced_epoch_is_as_long_as_any_other() -> None:
    labels = np.repeat([0, 1, 2], [30, 6, 5])
    drawn = labels[EpochSampler(labels, seed=1, mode="balanced").indices()]
    assert sorted(np.bincount(drawn)) == [13, 14, 14]


def test_batches_are_bytes_with_channels_second_and_whole_numbers(root: Path) -> None:
    data = make_data(root)
    data.setup("fit")
    images, labels = next(iter(data.train_dataloader()))
    assert (images.shape, images.dtype) == ((4, 3, 8, 8), torch.uint8)
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert (labels.shape, labels.dtype) == ((4,), torch.int64)


@pytest.mark.parametrize("sampler", ["shuffle", "balanced"])
def test_images_keep_their_labels_through_the_shuffle(root: Path, sampler: str) -> None:
    data = make_data(root, sampler=sampler)
    data.setup("fit")
    for images, labels in data.train_dataloader():
        cats_are_red = images[:, 0].float().mean(dim=(1, 2)) > images[:, 2].float().mean(dim=(1, 2))
        assert torch.equal(labels, torch.where(cats_are_red, 0, 1))


def test_every_training_image_is_used_in_every_epoch_and_no_batch_is_of_one_image(root: Path) -> None:
    data = make_data(root, batch_size=3)
    data.setup("fit")
    train, test = data.train_dataloader(), data.build_loader("test")
    assert [len(labels) for _, labels in train] == [2, 3, 3, 2, 3, 3]  # of 16
    assert [len(labels) for _, labels in test] == [3, 2]
    assert (len(train), len(test)) == (6, 2)
    few = data.build_loader("val", sampler="shuffle")
    assert [len(labels) for _, labels in few] == [2]


@pytest.mark.parametrize(
    ("num_images", "batch_size", "world_size", "sizes"),
    [
        (28, 16, 1, [14, 14]),
        (32, 16, 1, [16, 16]),
        (3, 2, 1, [3]),
        (3, 1, 1, [1, 1, 1]),
        (1, 16, 1, [1]),
        (1000, 300, 1, [250] * 4),
        (1290, 8, 1, [8] * 161),  # drops 2, which are less than 1 %
        (28, 8, 2, [14, 14]),
        (9, 2, 2, [4, 5]),  # four batches of one process would leave single images
    ],
)
def test_batches_are_evened_out_unless_less_than_one_percent_is_dropped(
    num_images: int, batch_size: int, world_size: int, sizes: list[int]
) -> None:
    batches = training_slices(num_images, batch_size, world_size)
    assert [batch.stop - batch.start for batch in batches] == sizes
    assert [batch.start for batch in batches] == [0, *(batch.stop for batch in batches[:-1])]


def test_an_unshuffled_loader_answers_in_the_order_of_its_paths(root: Path) -> None:
    data = make_data(root)
    data.setup("test")
    images = torch.cat([images for images, _ in data.build_loader("test")])
    paths = [sample.path for sample in data.splits["test"]]
    expected = [torch.tensor(data.preprocess.load(path)).permute(2, 0, 1) for path in paths]
    assert torch.equal(images, torch.stack(expected))


def test_batch_transfer_scales_to_unit_range_and_keeps_labels(root: Path) -> None:
    images, labels = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 8, 8), torch.tensor([0, 1])
    data = make_data(root)
    data.setup("test")
    batch, same_labels = data.on_after_batch_transfer((images, labels), 0)
    assert batch.unique().tolist() == [0.0, 1.0]
    assert same_labels is labels


@pytest.mark.parametrize("cache", ["auto", "none"])
def test_unreadable_images_leave_the_splits_and_are_listed(root: Path, cache: str) -> None:
    broken = root / "test" / "cats" / "001.png"
    broken.write_bytes(b"")
    data = make_data(root, cache=cache)
    data.prepare_data()
    assert data.prepared.summary["unreadable"] == [{"path": "test/cats/001.png", "reason": "the file is empty"}]
    assert data.class_counts["test"] == [2, 2]
    assert broken not in [sample.path for sample in data.splits["test"]]
    assert [len(labels) for _, labels in data.build_loader("test")] == [4]


def test_second_setup_reuses_the_decoded_images(root: Path) -> None:
    data = make_data(root)
    data.setup("fit")
    first = data.prepared
    data.setup("test")
    assert data.prepared is first


def test_train_size_grows_in_equal_parts_of_the_run_and_ends_with_the_largest(root: Path) -> None:
    data = make_data(root, train_sizes=[8, 16])

    def sizes(epochs: int) -> list[int]:
        trainers = (SimpleNamespace(max_epochs=epochs, max_steps=-1, current_epoch=epoch) for epoch in range(epochs))
        return [data.train_size for data.trainer in trainers]  # type: ignore[misc, assignment]

    assert sizes(4) == [8, 8, 16, 16]
    assert sizes(3) == [8, 8, 16] or sizes(3) == [8, 16, 16]
    assert sizes(1) == [16]


def test_split_seed_decides_the_split_instead_of_the_seed(make_folder: MakeFolder) -> None:
    root = make_folder({"cats": 12, "dogs": 12})

    def split(**options: Any) -> dict[str, list[Path]]:
        return {name: [s.path for s in samples] for name, samples in make_data(root, **options).splits.items()}

    assert split(seed=2) == split(seed=3) == split(seed=1, split_seed=None) == split(split_seed=1)
    assert split(seed=2, max_per_class=6) == split(seed=1, max_per_class=6)
    assert split(split_seed=2) == split(seed=2, split_seed=None) != split(seed=1)
