"""Admission control, timeouts and readiness of the prediction service."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI

from cnn_classifier.data.images.preprocess import Pixels
from cnn_classifier.inference.backends import ModelOutput
from cnn_classifier.inference.predictor import Predictor
from cnn_classifier.serve.app import make_app
from cnn_classifier.serve.bundle import load_bundle
from cnn_classifier.serve.limits import Limits

JPEG = {"Content-Type": "image/jpeg"}


class BlockingBackend:
    """A backend whose `predict` blocks until `released` is set.

    Args:
        predictor: The predictor whose backend computes the output.
    """

    def __init__(self, predictor: Predictor) -> None:
        self.backend, self.released = predictor.backend, threading.Event()

    def predict(self, pixels: Pixels) -> ModelOutput:
        self.released.wait(30)
        return self.backend.predict(pixels)


@pytest.fixture
def blocking(bundle: Path) -> Iterator[tuple[BlockingBackend, Predictor]]:
    """A blocking backend and its predictor."""
    predictor, _ = load_bundle(bundle)
    backend = BlockingBackend(predictor)
    yield backend, Predictor(backend, predictor.metadata)
    backend.released.set()


def make_client(app: FastAPI) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://service", headers=JPEG)


def test_full_queue_returns_503_until_there_is_room(blocking: tuple[BlockingBackend, Predictor], photo: bytes) -> None:
    backend, predictor = blocking
    app = make_app(predictor, sha256="", limits=Limits(max_queued=3))

    async def scenario() -> None:
        async with app.state.service.lifespan(), make_client(app) as client:
            pending = [asyncio.create_task(client.post("/predict", content=photo)) for _ in range(3)]
            while app.state.service.num_images < 3:
                await asyncio.sleep(0.001)
            rejected = await client.post("/predict", content=photo)
            assert (rejected.status_code, rejected.headers["Retry-After"]) == (503, "1")
            assert (await client.get("/health")).status_code == 200
            assert (await client.get("/ready")).status_code == 200
            assert "classifier_queue_images 3.0" in (await client.get("/metrics")).text
            backend.released.set()
            assert [response.status_code for response in await asyncio.gather(*pending)] == [200] * 3
            assert (await client.post("/predict", content=photo)).status_code == 200

    asyncio.run(scenario())


def test_request_with_more_images_than_room_returns_503(
    blocking: tuple[BlockingBackend, Predictor], photo: bytes
) -> None:
    app = make_app(blocking[1], sha256="", limits=Limits(max_queued=3))

    async def scenario() -> None:
        async with app.state.service.lifespan(), make_client(app) as client:
            client.headers.pop("Content-Type")
            files = [("images", (f"{index}.jpg", photo)) for index in range(4)]
            assert (await client.post("/predict", files=files)).status_code == 503
            assert app.state.service.num_images == 0

    asyncio.run(scenario())


def test_prediction_timeout_returns_504_and_frees_the_queue(
    blocking: tuple[BlockingBackend, Predictor], photo: bytes
) -> None:
    backend, predictor = blocking
    app = make_app(predictor, sha256="", limits=Limits(response_timeout=0.2))

    async def scenario() -> None:
        async with app.state.service.lifespan(), make_client(app) as client:
            response = await client.post("/predict", content=photo)
            detail = "The prediction was not completed within 0.2 s."
            assert (response.status_code, response.json()["detail"]) == (504, detail)
            assert app.state.service.num_images == 0
            backend.released.set()
            assert (await client.post("/predict", content=photo)).status_code == 200

    asyncio.run(scenario())


def test_service_is_not_ready_after_batcher_stops(bundle: Path) -> None:
    predictor, sha256 = load_bundle(bundle)
    app = make_app(predictor, sha256=sha256)

    async def scenario() -> None:
        async with app.state.service.lifespan(), make_client(app) as client:
            assert (await client.get("/ready")).status_code == 200
            app.state.service.batch_task.cancel()
            await asyncio.sleep(0)
            assert (await client.get("/ready")).status_code == 503

    asyncio.run(scenario())
