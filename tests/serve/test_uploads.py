"""Whatever bytes come, the answer is a number in the four hundreds and one line that says why."""

import base64
import random

import pytest
from helpers.image_bytes import encode, encode_jpeg
from helpers.odd_images import ODD_IMAGES
from starlette.testclient import TestClient

ALLOWED = {200, 400, 413, 415, 422}
FORM = {"Content-Type": "multipart/form-data; boundary=x"}
FILE = b'--x\r\nContent-Disposition: form-data; name="a"; filename="b"\r\n\r\n%s\r\n--x--\r\n'


@pytest.mark.parametrize(
    ("content", "headers", "code", "told"),
    [
        (b"", {"Content-Type": "image/png"}, 400, "the file is empty"),
        (b"hello", {"Content-Type": "image/png"}, 400, "not an image: it starts like text, 'hello'"),
        (b"hello", {}, 400, "not an image"),
        (b"hello", {"Content-Type": "text/plain"}, 415, "content-type 'text/plain' is not taken; send one picture as"),
        (b"hello", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "is not taken"),
        (b"hello", {"Content-Type": "image/png", "Content-Encoding": "gzip"}, 415, "content-encoding 'gzip'"),
        (b"{}", {"Content-Type": "application/json"}, 422, "images: Field required; send one picture as the body"),
        (b"[" * 100_000, {"Content-Type": "application/json"}, 422, "the body: Invalid JSON"),
        (b'{"images": []}', {"Content-Type": "application/json"}, 422, "images: List should have at least 1 item"),
        (b'{"images": ["?"]}', {"Content-Type": "application/json"}, 422, "images.0: "),
        (b'{"images": [1]}', {"Content-Type": "application/json"}, 422, "images.0: "),
        (b"\xff\xfe", {"Content-Type": "application/json"}, 422, "the body: "),
        (b"hello", {"Content-Type": "multipart/form-data"}, 400, "Missing boundary"),
        (b"hello", FORM, 400, "Invalid multipart data"),
        (b"--x--\r\n", FORM, 422, "the form holds no file"),
        (b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n--x--\r\n', FORM, 422, "holds no file"),
        (b"--x\r\n\r\nb\r\n--x--\r\n", FORM, 400, '"name" must be provided'),
        (FILE % b"", FORM, 400, "the file is empty"),
        (FILE % b"hello", {"Content-Type": FORM["Content-Type"] + "; charset=undefined"}, 400, "cannot be read"),
    ],
)
def test_what_is_no_picture_is_told_why(
    client: TestClient, content: bytes, headers: dict[str, str], code: int, told: str
) -> None:
    reply = client.post("/predict", content=content, headers=headers)
    assert reply.status_code == code
    assert told in reply.json()["detail"]


def test_more_than_the_limits_is_too_much(client: TestClient, photo: bytes) -> None:
    files = [("images", (f"{index}.jpg", photo)) for index in range(17)]
    assert client.post("/predict", files=files[:16]).status_code == 200
    assert client.post("/predict", files=files).status_code == 413
    words = {"images": [base64.b64encode(photo).decode()] * 17}
    assert client.post("/predict", json=words).json()["detail"] == "17 pictures are too many; send at most 16 at once"
    fields = {f"field{index}": "x" for index in range(9)}
    assert client.post("/predict", data=fields, files=files[:1]).status_code == 400
    assert client.post("/predict", data={"long": "x" * 70_000}, files=files[:1]).status_code == 400

    whole = client.post("/predict", content=bytes(10 * 2**20 + 1), headers={"Content-Type": "image/png"})
    without_length = client.post("/predict", content=iter([bytes(2**20)] * 11), headers={"Content-Type": "image/png"})
    assert (whole.status_code, without_length.status_code) == (413, 413)


def test_a_picture_with_too_many_pixels_is_refused_by_its_header(client: TestClient) -> None:
    from PIL import Image

    bomb = encode("PNG", Image.new("1", (7_100, 7_100)))
    assert len(bomb) < 20_000
    reply = client.post("/predict", content=bomb, headers={"Content-Type": "image/png"})
    assert reply.json()["detail"] == "too large: more than 50,000,000 pixels"


def test_a_name_in_a_strange_charset_is_repeated_legibly(client: TestClient, photo: bytes) -> None:
    part = b'--x\r\nContent-Disposition: form-data; name="a"; filename="+2AA-"\r\n\r\n' + photo + b"\r\n--x--\r\n"
    reply = client.post(
        "/predict", content=part, headers={"Content-Type": "multipart/form-data; boundary=x; charset=utf-7"}
    )
    assert reply.status_code == 200
    assert reply.json()["predictions"][0]["path"] == "?"


@pytest.mark.parametrize("name", [name for name, odd in ODD_IMAGES.items() if odd.verdict != "ignored"])
def test_every_odd_image_is_answered_as_it_is_read(client: TestClient, name: str) -> None:
    odd = ODD_IMAGES[name]
    reply = client.post("/predict", content=odd.content, headers={"Content-Type": "image/*"})
    if odd.verdict.startswith("ok"):
        assert reply.status_code == 200
    else:
        assert reply.status_code == 400
        assert odd.verdict.removeprefix("bad: ") in reply.json()["detail"]


def test_damaged_bytes_of_every_format_never_make_it_fail(client: TestClient) -> None:
    chance = random.Random(0)
    whole = [encode_jpeg(), encode("PNG"), encode("WEBP"), encode("GIF"), encode("TIFF"), encode("BMP"), encode("PPM")]
    codes = set()
    for turn in range(500):
        content = bytearray(whole[turn % len(whole)] if turn % 9 else chance.randbytes(chance.randrange(3000)))
        for _ in range(chance.randrange(1, 12)):
            if content:
                content[chance.randrange(min(len(content), chance.choice((40, 400, 4000))))] = chance.randrange(256)
        content = content[: chance.choice((len(content), len(content), chance.randrange(len(content) + 1)))]
        codes.add(client.post("/predict", content=bytes(content), headers={"Content-Type": "image/*"}).status_code)
    assert codes == {200, 400}


def test_damaged_forms_never_make_it_fail(client: TestClient, photo: bytes) -> None:
    chance = random.Random(1)
    codes = set()
    for turn in range(300):
        words = b'{"images": ["%s"]}' % base64.b64encode(photo[:200])
        content = bytearray(FILE % photo[:200] if turn % 2 else words)
        for _ in range(chance.randrange(1, 8)):
            content[chance.randrange(min(100, len(content)))] = chance.randrange(256)
        kind = FORM["Content-Type"] if turn % 2 else "application/json"
        codes.add(client.post("/predict", content=bytes(content), headers={"Content-Type": kind}).status_code)
    assert codes <= ALLOWED
    assert len(codes) > 1
