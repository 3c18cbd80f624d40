"""What becomes of every odd kind of image: read in the right colours and noted, refused for a reason, or ignored."""

import random
import struct
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from helpers.image_bytes import (
    IMAGE,
    cmyk_jpeg,
    encode,
    encode_jpeg,
    multi_frame,
    rgb16_png,
    tiled_tiff,
    transparent_palette_png,
)
from helpers.odd_images import HEIC, ODD_IMAGES, Odd, write_odd_images
from PIL import Image

from cnn_classifier.data.checks.image_info import WARNINGS, find_warnings
from cnn_classifier.data.images.color_modes import oriented_size
from cnn_classifier.data.images.decode import open_image
from cnn_classifier.data.images.preprocess import Preprocess, decode, to_rgb_or_gray
from cnn_classifier.data.sources.listing import iter_image_files
from cnn_classifier.errors import UnreadableImageError

READABLE = {name: odd for name, odd in ODD_IMAGES.items() if odd.verdict.startswith("ok")}
UNREADABLE = {name: odd for name, odd in ODD_IMAGES.items() if odd.verdict.startswith("bad")}
IGNORED = {name for name, odd in ODD_IMAGES.items() if odd.verdict == "ignored"}
CLOSE = 9  # the mean difference of a channel: lossy formats blur the grain
PREPROCESS = Preprocess(image_size=16, channels=3, resize="stretch", mean=(0.5,), std=(0.25,))


def difference(one: Image.Image, other: Image.Image) -> float:
    seen, expected = (np.asarray(image.convert("RGB")).astype(int) for image in (one, other))
    return float(np.abs(seen - expected).mean())


@pytest.mark.parametrize(("name", "odd"), READABLE.items(), ids=READABLE)
def test_it_looks_as_it_should_and_what_is_odd_is_noted(tmp_path: Path, name: str, odd: Odd) -> None:
    path = tmp_path / name
    path.write_bytes(odd.content)
    with open_image(path) as image:
        notes, size = find_warnings(image, path), oriented_size(image)
        seen = to_rgb_or_gray(image, 3)
    assert ", ".join(notes) == odd.verdict.removeprefix("ok").removeprefix(", noted: ")
    assert (seen.mode, seen.size) == ("RGB", size)
    assert difference(seen.crop((0, 0, *odd.shows.size)), odd.shows) < CLOSE
    assert decode(path, 3).tobytes() == seen.tobytes()  # asking for notes changes nothing
    assert decode(path, 1).size == size


@pytest.mark.parametrize(("name", "odd"), UNREADABLE.items(), ids=UNREADABLE)
def test_it_is_refused_in_one_line_that_says_why(tmp_path: Path, name: str, odd: Odd) -> None:
    path = tmp_path / name
    path.write_bytes(odd.content)
    with pytest.raises(UnreadableImageError) as raised:
        decode(path, 3)
    reason = str(raised.value)
    assert odd.verdict.removeprefix("bad: ") in reason
    assert "\n" not in reason
    assert name not in reason
    with pytest.raises(UnreadableImageError) as streamed, open_image(BytesIO(odd.content)) as image:
        to_rgb_or_gray(image, 3)
    assert str(streamed.value) == reason


def test_what_is_no_photo_by_its_name_is_passed_over(tmp_path: Path) -> None:
    write_odd_images(tmp_path)
    assert {path.name for path in iter_image_files(tmp_path)} == set(ODD_IMAGES) - IGNORED


def test_every_note_has_its_treatment_and_its_picture() -> None:
    noted = {note for odd in READABLE.values() for note in odd.verdict.partition("noted: ")[2].split(", ") if note}
    assert noted | {"huge"} == set(WARNINGS)


def test_a_photo_of_60_megapixels_is_huge() -> None:
    with open_image(BytesIO(encode("PNG", Image.new("1", (10_000, 6_000))))) as image:
        assert find_warnings(image, Path("stitched.png")) == ("1-bit", "huge")


def test_grey_of_floats_may_hold_what_is_no_number() -> None:
    values = np.array([[0, 0.5, 1, np.nan, np.inf, -np.inf]], np.float32)
    with open_image(BytesIO(encode("TIFF", Image.fromarray(values)))) as image:
        assert np.asarray(to_rgb_or_gray(image, 1)).tolist() == [[0, 127, 255, 0, 0, 0]]


def print_profile() -> bytes:
    """An ICC profile (ICC.1:2001-04) of a press whose every colour looks green, Lab (60, -50, 50), and black black."""
    green, black = bytes([60 * 255 // 100, 128 - 50, 128 + 50]), bytes([0, 128, 128])
    every, matrix = bytes(range(256)), struct.pack(">9i", *(65536 * (place % 4 == 0) for place in range(9)))
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + matrix + every * 4 + (green + black) * 2**3 + every * 3
    tags = struct.pack(">I4sII", 1, b"A2B0", 128 + 16, len(table))
    header = struct.pack(">I4xI4s4s4s12x", 128 + 16 + len(table), 0x02400000, b"prtr", b"CMYK", b"Lab ") + b"acsp"
    return header.ljust(128, b"\0") + tags + table


def test_print_colours_follow_their_profile_unless_it_is_broken() -> None:
    inks = IMAGE.convert("CMYK")
    plain, by_profile, broken = (
        decode(Image.open(BytesIO(encode_jpeg(inks, icc_profile=profile))), 3)
        for profile in (None, print_profile(), b"junk")
    )
    green = Image.new("RGB", IMAGE.size, (53, 166, 43))
    assert difference(by_profile, green) < 3
    assert difference(broken, plain) == 0
    assert difference(plain, IMAGE) < CLOSE


def test_heic_needs_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with (
        pytest.raises(UnreadableImageError, match=r'^HEIC requires pip install "cnn_classifier\[heic\]"$'),
        open_image(BytesIO(HEIC)),
    ):
        pass


def test_heic_is_read_with_its_extra(tmp_path: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.from_pillow(IMAGE).save(tmp_path / "phone.heic", quality=95)
    (tmp_path / "phone.jpg").write_bytes((tmp_path / "phone.heic").read_bytes())
    for name, expected in (("phone.heic", ()), ("phone.jpg", ("misnamed",))):
        with open_image(tmp_path / name) as image:
            assert find_warnings(image, tmp_path / name) == expected
            assert difference(to_rgb_or_gray(image, 3), IMAGE) < CLOSE


FUZZED = {
    "JPEG": encode_jpeg(),
    "progressive JPEG": encode_jpeg(progressive=True),
    "CMYK JPEG": cmyk_jpeg(transform=2),
    "PNG": encode("PNG"),
    "16-bit PNG": rgb16_png(),
    "palette PNG": transparent_palette_png(),
    "APNG": multi_frame("PNG"),
    "GIF": multi_frame("GIF"),
    "WebP": encode("WEBP"),
    "TIFF": multi_frame("TIFF"),
    "tiled TIFF": tiled_tiff(300),
    "BMP": encode("BMP"),
    "JPEG 2000": encode("JPEG2000"),
}  # fmt: skip


def damaged(content: bytes, chance: random.Random) -> bytes:
    """Cut, or with some bytes changed: half of the time near its start, where the structure is."""
    if chance.random() < 0.2:
        return content[: chance.randrange(len(content))]
    broken = bytearray(content)
    for _ in range(chance.choice([1, 2, 4, 16])):
        broken[chance.randrange(chance.choice([200, len(broken)]))] = chance.randrange(256)
    return bytes(broken)


@pytest.mark.parametrize("kind", FUZZED)
def test_whatever_is_damaged_gives_pixels_or_a_reason(kind: str) -> None:
    chance, outcomes = random.Random(kind), set()
    for _ in range(60):
        try:
            with open_image(BytesIO(damaged(FUZZED[kind], chance))) as image:
                find_warnings(image, Path("photo.jpg"))
                outcomes.add(PREPROCESS.load(to_rgb_or_gray(image, 3)).shape)
        except UnreadableImageError as error:
            outcomes.add(type(error))
    assert outcomes <= {(16, 16, 3), UnreadableImageError}
