"""Tests of the near-duplicate search on thumbnails and pixels."""

from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image, ImageOps

from cnn_classifier.data.checks.near_duplicates import group_near_duplicates, make_thumbnail
from cnn_classifier.errors import DataError


def scene(seed: int) -> Image.Image:
    """Return smooth random color blobs, which correlate with other scenes as little as two photos do."""
    blobs = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return Image.fromarray(blobs).resize((128, 96), Image.Resampling.BICUBIC)


def groups(images: Sequence[Image.Image], unreadable: Sequence[int] = ()) -> list[tuple[int, ...]]:
    def load(index: int) -> np.ndarray:
        if index in unreadable:
            raise DataError("unreadable")
        return np.asarray(images[index].convert("RGB").resize((64, 64)))

    thumbnails = [make_thumbnail(image) for image in images]
    return group_near_duplicates(np.array(thumbnails, np.uint8).reshape(-1, 16, 16), load)


SCENES = [scene(seed) for seed in range(40)]
NEAR_DUPLICATES = {
    "resized to half": SCENES[7].resize((64, 48)),
    "resized to a square": SCENES[7].resize((96, 96)),
    "mirrored": ImageOps.mirror(SCENES[7]),
    "darkened": SCENES[7].point(lambda level: round(level * 0.9)),
}
DIFFERENT_IMAGES = {
    "upside down": ImageOps.flip(SCENES[7]),
    "cropped to half": SCENES[7].crop((0, 0, 64, 96)),
    "inverted": ImageOps.invert(SCENES[7]),
    "rotated": SCENES[7].rotate(90),
    "grayscale": SCENES[7].convert("L"),
}


def test_no_images_one_image_and_different_images_have_no_groups() -> None:
    assert groups([]) == groups(SCENES[:1]) == groups(SCENES) == []


@pytest.mark.parametrize("name", NEAR_DUPLICATES)
def test_near_duplicate_is_found_among_different_images(name: str) -> None:
    assert groups([*SCENES, NEAR_DUPLICATES[name]]) == [(7, 40)]


def test_all_near_duplicates_of_an_image_are_one_group() -> None:
    assert groups([*NEAR_DUPLICATES.values(), *SCENES, SCENES[9].resize((32, 24))]) == [(0, 1, 2, 3, 11), (13, 44)]


@pytest.mark.parametrize("name", DIFFERENT_IMAGES)
def test_cropped_rotated_or_recolored_image_is_not_near_duplicate(name: str) -> None:
    assert groups([*SCENES, DIFFERENT_IMAGES[name]]) == []


def test_low_contrast_images_are_not_near_duplicates() -> None:
    low_contrast = [
        Image.fromarray((200 + np.random.default_rng(seed).integers(0, 4, (96, 128, 3))).astype("uint8"))
        for seed in range(9)
    ]
    assert groups([*low_contrast, *SCENES]) == []


def test_image_that_cannot_be_loaded_is_not_near_duplicate() -> None:
    assert groups([*SCENES, NEAR_DUPLICATES["resized to half"]], unreadable=[40]) == []


def test_near_duplicates_are_found_across_blocks() -> None:
    thumbnails = np.random.default_rng(0).integers(0, 256, (9000, 16, 16), np.uint8)
    thumbnails[8999] = thumbnails[3]
    thumbnails[4000] = thumbnails[5000][:, ::-1]
    thumbnails[10:20] = thumbnails[6000]

    def load(index: int) -> np.ndarray:
        return np.repeat(np.kron(thumbnails[index], np.ones((4, 4), np.uint8))[:, :, None], 3, axis=2)

    assert group_near_duplicates(thumbnails, load) == [(3, 8999), (*range(10, 20), 6000), (4000, 5000)]
