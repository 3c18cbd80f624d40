"""Valid, invalid and damaged uploads."""

import base64
import random

import pytest
from helpers.image_bytes import encode, encode_jpeg
from helpers.odd_images import ODD_IMAGES
from PIL import Image
from starlette.testclient import TestClient

EXPECTED_CODES = {200, 400, 413, 415, 422}
FORM_HEADERS = {"Content-Type": "multipart/form-data; boundary=x"}
FORM_TEMPLATE = b'--x\r\nContent-Disposition: form-data; name="a"; filename="b"\r\n\r\n%s\r\n--x--\r\n'


@pytest.mark.parametrize(
    ("content", "headers", "status_code", "message"),
    [
        (b"", {"Content-Type": "image/png"}, 400, "the file is empty"),
        (b"hello", {"Content-Type": "image/png"}, 400, "not an image: it starts like text, 'hello'"),
        (b"hello", {}, 400, "not an image"),
        (b"hello", {"Content-Type": "text/plain"}, 415, "Unsupported content-type 'text/plain'. Send one image as"),
        (b"hello", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "Unsupported content-type"),
        (
            b"hello",
            {"Content-Type": "image/png", "Content-Encoding": "gzip"},
            415,
            "Unsupported content-encoding 'gzip'",
        ),
        (b"{}", {"Content-Type": "application/json"}, 422, "images: Field required. Send one image as the body"),
        (b"[" * 100_000, {"Content-Type": "application/json"}, 422, "body: Invalid JSON"),
        (b'{"images": []}', {"Content-Type": "application/json"}, 422, "images: List should have at least 1 item"),
        (b'{"images": ["?"]}', {"Content-Type": "application/json"}, 422, "images.0: "),
        (b'{"images": [1]}', {"Content-Type": "application/json"}, 422, "images.0: "),
        (b"\xff\xfe", {"Content-Type": "application/json"}, 422, "body: "),
        (b"hello", {"Content-Type": "multipart/form-data"}, 400, "Missing boundary"),
        (b"hello", FORM_HEADERS, 400, "Invalid multipart data"),
        (b"--x--\r\n", FORM_HEADERS, 422, "The form contains no file"),
        (
            b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n--x--\r\n',
            FORM_HEADERS,
            422,
            "contains no file",
        ),
        (b"--x\r\n\r\nb\r\n--x--\r\n", FORM_HEADERS, 400, '"name" must be provided'),
        (FORM_TEMPLATE % b"", FORM_HEADERS, 400, "the file is empty"),
        (
            FORM_TEMPLATE % b"hello",
            {"Content-Type": FORM_HEADERS["Content-Type"] + "; charset=undefined"},
            400,
            "Cannot decode the form.",
        ),
    ],
)
def test_invalid_upload_returns_status_code_and_reason(
    client: TestClient, content: bytes, headers: dict[str, str], status_code: int, message: str
) -> None:
    response = client.post("/predict", content=content, headers=headers)
    assert response.status_code == status_code
    assert message in response.json()["detail"]


def test_request_over_the_limits_is_refused(client: TestClient, photo: bytes) -> None:
    files = [("images", (f"{index}.jpg", photo)) for index in range(17)]
    assert client.post("/predict", files=files[:16]).status_code == 200
    assert client.post("/predict", files=files).status_code == 413
    body = {"images": [base64.b64encode(photo).decode()] * 17}
    message = "Too many images: 17. Send at most 16 per request."
    assert client.post("/predict", json=body).json()["detail"] == message
    fields = {f"field{index}": "x" for index in range(9)}
    assert client.post("/predict", data=fields, files=files[:1]).status_code == 400
    assert client.post("/predict", data={"long": "x" * 70_000}, files=files[:1]).status_code == 400

    with_length = client.post("/predict", content=bytes(10 * 2**20 + 1), headers={"Content-Type": "image/png"})
    without_length = client.post("/predict", content=iter([bytes(2**20)] * 11), headers={"Content-Type": "image/png"})
    assert (with_length.status_code, without_length.status_code) == (413, 413)


def test_image_with_too_many_pixels_is_refused(client: TestClient) -> None:
    bomb = encode("PNG", Image.new("1", (7_100, 7_100)))
    assert len(bomb) < 20_000
    response = client.post("/predict", content=bomb, headers={"Content-Type": "image/png"})
    assert response.json()["detail"] == "too large: more than 50,000,000 pixels"


def test_lone_surrogates_in_file_name_are_replaced(client: TestClient, photo: bytes) -> None:
    part = b'--x\r\nContent-Disposition: form-data; name="a"; filename="+2AA-"\r\n\r\n' + photo + b"\r\n--x--\r\n"
    response = client.post(
        "/predict", content=part, headers={"Content-Type": "multipart/form-data; boundary=x; charset=utf-7"}
    )
    assert response.status_code == 200
    assert response.json()["predictions"][0]["path"] == "?"


@pytest.mark.parametrize("name", [name for name, odd in ODD_IMAGES.items() if odd.verdict != "ignored"])
def test_odd_images_are_decoded_or_refused_as_by_other_commands(client: TestClient, name: str) -> None:
    odd = ODD_IMAGES[name]
    response = client.post("/predict", content=odd.content, headers={"Content-Type": "image/*"})
    if odd.verdict.startswith("ok"):
        assert response.status_code == 200
    else:
        assert response.status_code == 400
        assert odd.verdict.removeprefix("bad: ") in response.json()["detail"]


def test_damaged_images_never_cause_a_server_error(client: TestClient) -> None:
    rng = random.Random(0)
    originals = [
        encode_jpeg(),
        encode("PNG"),
        encode("WEBP"),
        encode("GIF"),
        encode("TIFF"),
        encode("BMP"),
        encode("PPM"),
    ]
    codes = set()
    for index in range(500):
        content = bytearray(originals[index % len(originals)] if index % 9 else rng.randbytes(rng.randrange(3000)))
        for _ in range(rng.randrange(1, 12)):
            if content:
                content[rng.randrange(min(len(content), rng.choice((40, 400, 4000))))] = rng.randrange(256)
        content = content[: rng.choice((len(content), len(content), rng.randrange(len(content) + 1)))]
        codes.add(client.post("/predict", content=bytes(content), headers={"Content-Type": "image/*"}).status_code)
    assert codes == {200, 400}


def test_damaged_request_bodies_never_cause_a_server_error(client: TestClient, photo: bytes) -> None:
    rng = random.Random(1)
    codes = set()
    for index in range(300):
        body = b'{"images": ["%s"]}' % base64.b64encode(photo[:200])
        content = bytearray(FORM_TEMPLATE % photo[:200] if index % 2 else body)
        for _ in range(rng.randrange(1, 8)):
            content[rng.randrange(min(100, len(content)))] = rng.randrange(256)
        content_type = FORM_HEADERS["Content-Type"] if index % 2 else "application/json"
        codes.add(client.post("/predict", content=bytes(content), headers={"Content-Type": content_type}).status_code)
    assert codes <= EXPECTED_CODES
    assert len(codes) > 1
