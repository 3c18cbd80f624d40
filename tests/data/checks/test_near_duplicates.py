"""Pictures are the same where the eye says so, whatever their bytes, their size and the side they are seen from."""

from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image, ImageOps

from cnn_classifier.data.checks.near_duplicates import group_near_duplicates, make_thumbnail
from cnn_classifier.errors import DataError


def scene(seed: int) -> Image.Image:
    """Soft blobs of colour, as far from any other scene as two photos are from each other."""
    blobs = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return Image.fromarray(blobs).resize((128, 96), Image.Resampling.BICUBIC)


def groups(pictures: Sequence[Image.Image], unreadable: Sequence[int] = ()) -> list[tuple[int, ...]]:
    def load(index: int) -> np.ndarray:
        if index in unreadable:
            raise DataError("gone since it was checked")
        return np.asarray(pictures[index].convert("RGB").resize((64, 64)))

    grey = [make_thumbnail(picture) for picture in pictures]
    return group_near_duplicates(np.array(grey, np.uint8).reshape(-1, 16, 16), load)


SCENES = [scene(seed) for seed in range(40)]
COPIES = {
    "half the size": SCENES[7].resize((64, 48)),
    "squashed": SCENES[7].resize((96, 96)),
    "mirrored": ImageOps.mirror(SCENES[7]),
    "a little darker": SCENES[7].point(lambda level: round(level * 0.9)),
}
OTHERS = {
    "upside down": ImageOps.flip(SCENES[7]),
    "half of it": SCENES[7].crop((0, 0, 64, 96)),
    "its negative": ImageOps.invert(SCENES[7]),
    "turned": SCENES[7].rotate(90),
    "without its colours": SCENES[7].convert("L"),
}


def test_no_picture_and_one_picture_have_no_copies() -> None:
    assert groups([]) == groups(SCENES[:1]) == groups(SCENES) == []


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_is_found_among_others(name: str) -> None:
    assert groups([*SCENES, COPIES[name]]) == [(7, 40)]


def test_all_copies_of_a_picture_are_one_group() -> None:
    assert groups([*COPIES.values(), *SCENES, SCENES[9].resize((32, 24))]) == [(0, 1, 2, 3, 11), (13, 44)]


@pytest.mark.parametrize("name", OTHERS)
def test_another_view_is_another_picture(name: str) -> None:
    assert groups([*SCENES, OTHERS[name]]) == []


def test_fog_and_plain_paper_are_no_copies_of_each_other() -> None:
    fog = [
        Image.fromarray((200 + np.random.default_rng(seed).integers(0, 4, (96, 128, 3))).astype("uint8"))
        for seed in range(9)
    ]
    assert groups([*fog, *SCENES]) == []


def test_what_can_be_read_no_longer_is_no_copy() -> None:
    assert groups([*SCENES, COPIES["half the size"]], unreadable=[40]) == []


def test_copies_are_found_among_more_pictures_than_are_compared_at_a_time() -> None:
    many = np.random.default_rng(0).integers(0, 256, (9000, 16, 16), np.uint8)
    many[8999] = many[3]
    many[4000] = many[5000][:, ::-1]
    many[10:20] = many[6000]

    def load(index: int) -> np.ndarray:
        return np.repeat(np.kron(many[index], np.ones((4, 4), np.uint8))[:, :, None], 3, axis=2)

    assert group_near_duplicates(many, load) == [(3, 8999), (*range(10, 20), 6000), (4000, 5000)]
