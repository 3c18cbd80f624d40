"""Tests of unusual and damaged image files: decoded pixels, warnings and error reasons."""

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
from helpers.odd_images import HEIC, ODD_IMAGES, OddImage, write_odd_images
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
MAX_DIFFERENCE = 9  # mean absolute difference of the pixels; lossy formats blur the noise
PREPROCESS = Preprocess(image_size=16, channels=3, resize="stretch", mean=(0.5,), std=(0.25,))


def difference(image: Image.Image, other: Image.Image) -> float:
    decoded, expected = (np.asarray(image.convert("RGB")).astype(int) for image in (image, other))
    return float(np.abs(decoded - expected).mean())


@pytest.mark.parametrize(("name", "odd"), READABLE.items(), ids=READABLE)
def test_odd_image_is_decoded_with_expected_pixels_and_warnings(tmp_path: Path, name: str, odd: OddImage) -> None:
    path = tmp_path / name
    path.write_bytes(odd.content)
    with open_image(path) as image:
        warnings, size = find_warnings(image, path), oriented_size(image)
        decoded = to_rgb_or_gray(image, 3)
    assert ", ".join(warnings) == odd.verdict.removeprefix("ok").removeprefix(", noted: ")
    assert (decoded.mode, decoded.size) == ("RGB", size)
    assert difference(decoded.crop((0, 0, *odd.shows.size)), odd.shows) < MAX_DIFFERENCE
    assert decode(path, 3).tobytes() == decoded.tobytes()  # collecting warnings does not change the pixels
    assert decode(path, 1).size == size


@pytest.mark.parametrize(("name", "odd"), UNREADABLE.items(), ids=UNREADABLE)
def test_unreadable_image_raises_one_line_reason(tmp_path: Path, name: str, odd: OddImage) -> None:
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


def test_files_of_other_types_are_ignored(tmp_path: Path) -> None:
    write_odd_images(tmp_path)
    assert {path.name for path in iter_image_files(tmp_path)} == set(ODD_IMAGES) - IGNORED


def test_every_warning_has_a_treatment_and_a_test_image() -> None:
    warnings = {note for odd in READABLE.values() for note in odd.verdict.partition("noted: ")[2].split(", ") if note}
    assert warnings | {"huge"} == set(WARNINGS)


def test_image_of_60_megapixels_is_huge() -> None:
    with open_image(BytesIO(encode("PNG", Image.new("1", (10_000, 6_000))))) as image:
        assert find_warnings(image, Path("stitched.png")) == ("1-bit", "huge")


def test_float_grayscale_with_nan_and_infinity_is_decoded() -> None:
    values = np.array([[0, 0.5, 1, np.nan, np.inf, -np.inf]], np.float32)
    with open_image(BytesIO(encode("TIFF", Image.fromarray(values)))) as image:
        assert np.asarray(to_rgb_or_gray(image, 1)).tolist() == [[0, 127, 255, 0, 0, 0]]


def print_profile() -> bytes:
    """Return an ICC profile (ICC.1:2001-04) that maps all colors to green, Lab (60, -50, 50), except black."""
    green, black = bytes([60 * 255 // 100, 128 - 50, 128 + 50]), bytes([0, 128, 128])
    every, matrix = bytes(range(256)), struct.pack(">9i", *(65536 * (place % 4 == 0) for place in range(9)))
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + matrix + every * 4 + (green + black) * 2**3 + every * 3
    tags = struct.pack(">I4sII", 1, b"A2B0", 128 + 16, len(table))
    header = struct.pack(">I4xI4s4s4s12x", 128 + 16 + len(table), 0x02400000, b"prtr", b"CMYK", b"Lab ") + b"acsp"
    return header.ljust(128, b"\0") + tags + table


def test_cmyk_is_converted_with_its_color_profile_unless_it_is_broken() -> None:
    inks = IMAGE.convert("CMYK")
    plain, by_profile, broken = (
        decode(Image.open(BytesIO(encode_jpeg(inks, icc_profile=profile))), 3)
        for profile in (None, print_profile(), b"junk")
    )
    green = Image.new("RGB", IMAGE.size, (53, 166, 43))
    assert difference(by_profile, green) < 3
    assert difference(broken, plain) == 0
    assert difference(plain, IMAGE) < MAX_DIFFERENCE


def test_heic_without_extra_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with (
        pytest.raises(UnreadableImageError, match=r'^HEIC requires pip install .*\[heic\]"$'),
        open_image(BytesIO(HEIC)),
    ):
        pass


def test_heic_is_read_with_extra(tmp_path: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.from_pillow(IMAGE).save(tmp_path / "phone.heic", quality=95)
    (tmp_path / "phone.jpg").write_bytes((tmp_path / "phone.heic").read_bytes())
    for name, expected in (("phone.heic", ()), ("phone.jpg", ("misnamed",))):
        with open_image(tmp_path / name) as image:
            assert find_warnings(image, tmp_path / name) == expected
            assert difference(to_rgb_or_gray(image, 3), IMAGE) < MAX_DIFFERENCE


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


def damage(content: bytes, rng: random.Random) -> bytes:
    """Return a truncated file, or one with changed bytes, half of the time near the start, where the structure is."""
    if rng.random() < 0.2:
        return content[: rng.randrange(len(content))]
    broken = bytearray(content)
    for _ in range(rng.choice([1, 2, 4, 16])):
        broken[rng.randrange(rng.choice([200, len(broken)]))] = rng.randrange(256)
    return bytes(broken)


@pytest.mark.parametrize("kind", FUZZED)
def test_damaged_image_gives_pixels_or_unreadable_image_error(kind: str) -> None:
    rng, outcomes = random.Random(kind), set()
    for _ in range(60):
        try:
            with open_image(BytesIO(damage(FUZZED[kind], rng))) as image:
                find_warnings(image, Path("photo.jpg"))
                outcomes.add(PREPROCESS.load(to_rgb_or_gray(image, 3)).shape)
        except UnreadableImageError as error:
            outcomes.add(type(error))
    assert outcomes <= {(16, 16, 3), UnreadableImageError}
