"""The routes of the service: predictions, readiness, metrics and OpenAPI."""

import base64
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.image_bytes import GRAY_IMAGE, encode, encode_jpeg, encode_rotated
from PIL import Image
from starlette.testclient import TestClient

from cnn_classifier import Predictor
from cnn_classifier.serve.app import make_app
from cnn_classifier.serve.bundle import load_bundle
from cnn_classifier.serve.page import read_style

JPEG = {"Content-Type": "image/jpeg"}


def test_all_request_forms_return_the_prediction_of_predictor(
    client: TestClient, bundle: Path, photo: bytes, tmp_path: Path
) -> None:
    (tmp_path / "photo.jpg").write_bytes(photo)
    expected = Predictor.load(bundle).predict(tmp_path / "photo.jpg")

    raw = client.post("/predict", content=photo, headers=JPEG)
    form = client.post("/predict", files={"anything": ("photo.jpg", photo)})
    as_json = client.post("/predict", json={"images": [base64.b64encode(photo).decode()]})
    sagemaker = client.post("/invocations", content=photo, headers={"Content-Type": "application/x-image"})

    for response in (raw, form, as_json, sagemaker):
        assert response.status_code == 200
        (prediction,) = response.json()["predictions"]
        assert prediction["label"] == expected.label
        assert prediction["probability"] == pytest.approx(expected.probability, abs=1e-6)
        assert [name for name, _ in prediction["top_k"]] == [name for name, _ in expected.top_k]
    assert form.json()["predictions"][0]["path"] == "photo.jpg"
    assert raw.json()["predictions"][0]["path"] is None


def test_response_identifies_model_and_preprocessing(client: TestClient, photo: bytes) -> None:
    response = client.post("/predict", content=photo, headers=JPEG).json()
    model_info = client.get("/ready").json()
    assert response["model"] == model_info["model"]
    assert len(response["model"]) == 64
    assert response["preprocessing"] == model_info["preprocessing"]
    assert model_info["class_names"] == ["birds", "cats", "dogs"]
    assert model_info["threshold"] == 0.2
    assert model_info["min_similarity"] is None  # this model has no reference features


def test_batched_predictions_equal_single_predictions(client: TestClient, bundle: Path) -> None:
    images = [
        encode_jpeg(),
        encode("PNG"),
        encode("PNG", GRAY_IMAGE),
        encode_rotated(6),
        encode_rotated(3),
        encode("WEBP"),
    ]
    files = [("images", (f"{index}", image)) for index, image in enumerate(images)]
    batched = client.post("/predict", files=files).json()["predictions"]
    single = [client.post("/predict", content=image, headers=JPEG).json()["predictions"][0] for image in images]
    assert [prediction["path"] for prediction in batched] == [f"{index}" for index in range(len(images))]
    for prediction, expected in zip(batched, single, strict=True):
        assert prediction["label"] == expected["label"]
        assert dict(prediction["top_k"]) == pytest.approx(dict(expected["top_k"]), abs=1e-5)


def test_unreadable_image_among_several_has_its_own_error(client: TestClient, photo: bytes) -> None:
    response = client.post("/predict", files=[("images", ("good.jpg", photo)), ("images", ("bad.jpg", b"<html>"))])
    assert response.status_code == 200
    good, bad = response.json()["predictions"]
    assert (good["error"], bad["label"]) == (None, None)
    assert bad["error"] == "not an image: it starts like a web page"


def test_query_sets_top_k_and_threshold(client: TestClient, bundle: Path, photo: bytes) -> None:
    def predict(**params: object) -> dict[str, object]:
        response: dict[str, list[dict[str, object]]] = client.post(
            "/predict", content=photo, headers=JPEG, params=params
        ).json()
        return response["predictions"][0]

    assert len(predict(top_k=2)["top_k"]) == 2
    accepted, rejected = predict(threshold=0), predict(threshold=1)
    assert (accepted["rejected"], accepted["rejection_reason"]) == (False, None)
    assert rejected == accepted | {"rejected": True, "rejection_reason": "low_confidence"}
    predictor, sha256 = load_bundle(bundle)
    with TestClient(make_app(predictor, sha256=sha256, threshold=1.0)) as strict_client:
        prediction = strict_client.post("/predict", content=photo, headers=JPEG).json()["predictions"][0]
    assert prediction["rejected"]
    assert prediction["top_k"][0] == [prediction["label"], prediction["probability"]]
    for params in ({"top_k": 0}, {"top_k": "x"}, {"threshold": 2}, {"threshold": "nan"}):
        assert client.post("/predict", content=photo, headers=JPEG, params=params).status_code == 422


def test_exif_is_not_in_the_response(client: TestClient) -> None:
    exif = Image.Exif()
    exif[0x010F] = "SECRET CAMERA"  # Make
    image = encode_jpeg(exif=exif.tobytes())
    assert b"SECRET CAMERA" in image
    assert "SECRET" not in client.post("/predict", content=image, headers=JPEG).text


def test_health_and_readiness_routes(client: TestClient, bundle: Path) -> None:
    for route in ("/health", "/ready", "/ping", "/v2/health/live", "/v2/health/ready"):
        assert client.get(route).status_code == 200, route
    predictor, sha256 = load_bundle(bundle)
    client_before_startup = TestClient(make_app(predictor, sha256=sha256))
    assert client_before_startup.get("/health").status_code == 200
    assert client_before_startup.get("/ready").status_code == 503
    assert client_before_startup.get("/ping").headers["Retry-After"] == "1"


def test_metrics_count_requests_batches_and_unreadable_images(client: TestClient, photo: bytes) -> None:
    client.post("/predict", files=[("images", ("good.jpg", photo)), ("images", ("bad.jpg", b"%PDF-1.4"))])
    client.post("/predict", content=photo[:400], headers=JPEG)
    rejected = client.post("/predict?threshold=1", content=photo, headers=JPEG).json()["predictions"][0]
    client.get("/no/such/place")
    output = client.get("/metrics").text
    assert 'classifier_requests_total{code="200",route="/predict"} 2.0' in output
    for reason in ("", "low_confidence"):
        labels = f'label="{rejected["label"]}",rejection_reason="{reason}"'
        assert f"classifier_predictions_total{{{labels}}} 1.0" in output
    assert 'classifier_requests_total{code="400",route="/predict"} 1.0' in output
    assert 'classifier_requests_total{code="404",route="none"} 1.0' in output
    assert 'classifier_unreadable_images_total{kind="not an image"} 1.0' in output
    assert 'classifier_unreadable_images_total{kind="truncated"} 1.0' in output
    assert "classifier_batch_images_count 2.0" in output
    assert "classifier_queue_images 0.0" in output
    assert 'classifier_model_info{preprocessing="' in output
    assert 'classifier_request_seconds_bucket{le="0.005",route="/predict"}' in output


def test_openapi_lists_routes_and_page_loads_nothing_external(client: TestClient) -> None:
    schema = client.get("/openapi.json").json()
    assert set(schema["paths"]) == {"/predict", "/health", "/ready", "/metrics"}
    content_types = schema["paths"]["/predict"]["post"]["requestBody"]["content"]
    assert set(content_types) == {"image/*", "multipart/form-data", "application/json"}
    assert {"400", "413", "415", "422", "503", "504"} < set(schema["paths"]["/predict"]["post"]["responses"])
    for page in (client.get("/"), client.get("/docs")):
        assert page.status_code == 200
        assert "http" not in page.text.replace("http://testserver/", "")
        assert "'unsafe-inline'" not in page.headers["Content-Security-Policy"]
        assert "default-src 'none'" in page.headers["Content-Security-Policy"]


def test_docs_describe_routes_parameters_and_fields(client: TestClient) -> None:
    page = client.get("/docs", headers={"Host": "<b>evil"}).text
    for path in ("POST /predict", "GET /health", "GET /ready", "GET /metrics"):
        assert f"<h2><code>{path}</code></h2>" in page
    assert "curl --data-binary @photo.jpg" in page
    assert "<td><code>top_k</code></td><td>integer from 1 to 1000 (default: 5)</td>" in page
    assert (
        "<td><code>rejection_reason</code></td><td>&quot;low_confidence&quot; or &quot;out_of_distribution&quot; or"
        in page
    )
    assert "<td>{images: array of base64}</td>" in page
    assert "<b>" not in page


def test_service_does_not_import_torch(bundle: Path, tmp_path: Path, photo: bytes) -> None:
    program = """
import sys
from starlette.testclient import TestClient
import cnn_classifier.cli.main, cnn_classifier.cli.serve, cnn_classifier.serve.server
from cnn_classifier.serve.app import make_app
from cnn_classifier.serve.bundle import load_bundle
predictor, sha256 = load_bundle(__import__("pathlib").Path(sys.argv[1]))
with TestClient(make_app(predictor, sha256=sha256)) as client:
    response = client.post("/predict", content=sys.stdin.buffer.read(), headers={"Content-Type": "image/jpeg"})
print(response.status_code, "torch" in sys.modules)
"""
    command = [sys.executable, "-c", program, str(bundle)]
    process = subprocess.run(command, input=photo, capture_output=True, check=True)
    assert process.stdout.split() == [b"200", b"False"]


def test_json_body_with_charset_is_accepted(client: TestClient, photo: bytes) -> None:
    body = json.dumps({"images": [base64.b64encode(photo).decode(), base64.b64encode(encode("PNG")).decode()]})
    response = client.post("/predict", content=body, headers={"Content-Type": "application/json; charset=utf-8"})
    assert [prediction["error"] for prediction in response.json()["predictions"]] == [None, None]


def test_styles_use_only_defined_variables() -> None:
    style = read_style()
    used, defined = set(re.findall(r"var\((--[\w-]+)", style)), set(re.findall(r"(--[\w-]+):", style))
    assert used
    assert used <= defined
