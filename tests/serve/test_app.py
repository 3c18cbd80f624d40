"""However a picture is sent, the answer is the one that every other command gives."""

import base64
import json
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.image_bytes import GRAY_IMAGE, encode, encode_jpeg, encode_rotated
from starlette.testclient import TestClient

from cnn_classifier import Predictor
from cnn_classifier.serve.app import make_app
from cnn_classifier.serve.bundle import load_bundle

JPEG = {"Content-Type": "image/jpeg"}


def test_every_form_of_a_request_gives_the_answer_of_predict(
    client: TestClient, bundle: Path, photo: bytes, tmp_path: Path
) -> None:
    (tmp_path / "photo.jpg").write_bytes(photo)
    expected = Predictor.load(bundle).predict(tmp_path / "photo.jpg")[0]

    raw = client.post("/predict", content=photo, headers=JPEG)
    form = client.post("/predict", files={"anything": ("photo.jpg", photo)})
    in_json = client.post("/predict", json={"images": [base64.b64encode(photo).decode()]})
    of_sagemaker = client.post("/invocations", content=photo, headers={"Content-Type": "application/x-image"})

    for reply in (raw, form, in_json, of_sagemaker):
        assert reply.status_code == 200
        (answer,) = reply.json()["predictions"]
        assert answer["label"] == expected.label
        assert answer["probability"] == pytest.approx(expected.probability, abs=1e-6)
        assert [name for name, _ in answer["top_k"]] == [name for name, _ in expected.top_k]
    assert form.json()["predictions"][0]["path"] == "photo.jpg"
    assert raw.json()["predictions"][0]["path"] is None


def test_the_answer_names_the_model_and_the_way_pixels_were_made(client: TestClient, photo: bytes) -> None:
    told, about = client.post("/predict", content=photo, headers=JPEG).json(), client.get("/ready").json()
    assert told["model"] == about["model"]
    assert len(told["model"]) == 64
    assert told["preprocessing"] == about["preprocessing"]
    assert about["class_names"] == ["birds", "cats", "dogs"]
    assert about["threshold"] == 0.2
    assert about["min_similarity"] is None  # this model keeps no familiar images


def test_many_pictures_at_once_are_answered_as_each_alone(client: TestClient, bundle: Path) -> None:
    pictures = [
        encode_jpeg(),
        encode("PNG"),
        encode("PNG", GRAY_IMAGE),
        encode_rotated(6),
        encode_rotated(3),
        encode("WEBP"),
    ]
    files = [("images", (f"{index}", picture)) for index, picture in enumerate(pictures)]
    together = client.post("/predict", files=files).json()["predictions"]
    alone = [client.post("/predict", content=it, headers=JPEG).json()["predictions"][0] for it in pictures]
    assert [answer["path"] for answer in together] == [f"{index}" for index in range(len(pictures))]
    for one, other in zip(together, alone, strict=True):
        assert one["label"] == other["label"]
        assert dict(one["top_k"]) == pytest.approx(dict(other["top_k"]), abs=1e-5)


def test_one_bad_picture_among_several_has_an_error_of_its_own(client: TestClient, photo: bytes) -> None:
    reply = client.post("/predict", files=[("images", ("good.jpg", photo)), ("images", ("bad.jpg", b"<html>"))])
    assert reply.status_code == 200
    good, bad = reply.json()["predictions"]
    assert (good["error"], bad["label"]) == (None, None)
    assert bad["error"] == "not an image: it starts like a web page"


def test_the_question_says_how_many_classes_and_what_is_unknown(client: TestClient, bundle: Path, photo: bytes) -> None:
    def ask(**words: object) -> dict[str, object]:
        answers: dict[str, list[dict[str, object]]] = client.post(
            "/predict", content=photo, headers=JPEG, params=words
        ).json()
        return answers["predictions"][0]

    assert len(ask(top_k=2)["top_k"]) == 2
    assert ask(threshold=1)["label"] == "unknown"
    assert ask(threshold=0)["label"] != "unknown"
    predictor, sha256 = load_bundle(bundle)
    with TestClient(make_app(predictor, sha256=sha256, threshold=1.0)) as strict:
        answer = strict.post("/predict", content=photo, headers=JPEG).json()["predictions"][0]
    assert answer["label"] == "unknown"
    assert answer["top_k"][0][1] == answer["probability"]
    for words in ({"top_k": 0}, {"top_k": "x"}, {"threshold": 2}, {"threshold": "nan"}):
        assert client.post("/predict", content=photo, headers=JPEG, params=words).status_code == 422


def test_what_a_camera_wrote_into_a_picture_is_not_repeated(client: TestClient) -> None:
    exif = {0x010F: "SECRET CAMERA"}  # Make
    picture = encode_jpeg(exif=exif_of(exif))
    assert b"SECRET CAMERA" in picture
    assert "SECRET" not in client.post("/predict", content=picture, headers=JPEG).text


def exif_of(tags: dict[int, str]) -> bytes:
    from PIL import Image

    exif = Image.Exif()
    exif.update(tags)
    return exif.tobytes()


def test_orchestrators_learn_that_it_is_alive_and_ready(client: TestClient, bundle: Path) -> None:
    for route in ("/health", "/ready", "/ping", "/v2/health/live", "/v2/health/ready"):
        assert client.get(route).status_code == 200, route
    predictor, sha256 = load_bundle(bundle)
    before_it_runs = TestClient(make_app(predictor, sha256=sha256))
    assert before_it_runs.get("/health").status_code == 200
    assert before_it_runs.get("/ready").status_code == 503
    assert before_it_runs.get("/ping").headers["Retry-After"] == "1"


def test_metrics_count_requests_batches_and_what_could_not_be_decoded(client: TestClient, photo: bytes) -> None:
    client.post("/predict", files=[("images", ("good.jpg", photo)), ("images", ("bad.jpg", b"%PDF-1.4"))])
    client.post("/predict", content=photo[:400], headers=JPEG)
    client.get("/no/such/place")
    told = client.get("/metrics").text
    assert 'classifier_requests_total{code="200",route="/predict"} 1.0' in told
    assert 'classifier_requests_total{code="400",route="/predict"} 1.0' in told
    assert 'classifier_requests_total{code="404",route="none"} 1.0' in told
    assert 'classifier_unreadable_images_total{kind="not an image"} 1.0' in told
    assert 'classifier_unreadable_images_total{kind="cut short"} 1.0' in told
    assert "classifier_batch_images_count 1.0" in told
    assert "classifier_queue_images 0.0" in told
    assert 'classifier_model_info{preprocessing="' in told
    assert 'classifier_request_seconds_bucket{le="0.005",route="/predict"}' in told


def test_the_interface_is_described_for_programs_and_nothing_is_loaded_from_elsewhere(client: TestClient) -> None:
    described = client.get("/openapi.json").json()
    assert set(described["paths"]) == {"/predict", "/health", "/ready", "/metrics"}
    forms = described["paths"]["/predict"]["post"]["requestBody"]["content"]
    assert set(forms) == {"image/*", "multipart/form-data", "application/json"}
    assert {"400", "413", "415", "422", "503", "504"} < set(described["paths"]["/predict"]["post"]["responses"])
    assert client.get("/docs").status_code == 404  # its scripts would come from a CDN
    page = client.get("/")
    assert "http" not in page.text.replace("http-equiv", "")
    assert "'unsafe-inline'" not in page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]


def test_no_torch_is_in_the_process(bundle: Path, tmp_path: Path, photo: bytes) -> None:
    asked = """
import sys
from starlette.testclient import TestClient
import cnn_classifier.cli.main, cnn_classifier.cli.serve, cnn_classifier.serve.server
from cnn_classifier.serve.app import make_app
from cnn_classifier.serve.bundle import load_bundle
predictor, sha256 = load_bundle(__import__("pathlib").Path(sys.argv[1]))
with TestClient(make_app(predictor, sha256=sha256)) as client:
    reply = client.post("/predict", content=sys.stdin.buffer.read(), headers={"Content-Type": "image/jpeg"})
print(reply.status_code, "torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", asked, str(bundle)], input=photo, capture_output=True, check=True)
    assert done.stdout.split() == [b"200", b"False"]


def test_the_json_form_is_what_any_language_writes(client: TestClient, photo: bytes) -> None:
    body = json.dumps({"images": [base64.b64encode(photo).decode(), base64.b64encode(encode("PNG")).decode()]})
    reply = client.post("/predict", content=body, headers={"Content-Type": "application/json; charset=utf-8"})
    assert [answer["error"] for answer in reply.json()["predictions"]] == [None, None]
