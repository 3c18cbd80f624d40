"""Fixtures for the HTTP service."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.image_bytes import encode_jpeg
from starlette.testclient import TestClient

from cnn_classifier.serve.app import make_app
from cnn_classifier.serve.bundle import load_bundle


@pytest.fixture
def client(bundle: Path) -> Iterator[TestClient]:
    """A client of the application, which runs in this process."""
    predictor, sha256 = load_bundle(bundle)
    with TestClient(make_app(predictor, sha256=sha256)) as client:
        yield client


@pytest.fixture
def photo() -> bytes:
    """The bytes of a JPEG."""
    return encode_jpeg()
