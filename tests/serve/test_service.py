"""Never more work than there is room for, and nobody waits for ever."""

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


class Held:
    """An engine that answers once it is let go.

    Args:
        predictor: What answers then.
    """

    def __init__(self, predictor: Predictor) -> None:
        self.engine, self.begun, self.go = predictor.backend, threading.Event(), threading.Event()

    def predict(self, pixels: Pixels) -> ModelOutput:
        self.begun.set()
        self.go.wait(30)
        return self.engine.predict(pixels)


@pytest.fixture
def held(bundle: Path) -> Iterator[tuple[Held, Predictor]]:
    predictor, _ = load_bundle(bundle)
    engine = Held(predictor)
    yield engine, Predictor(engine, predictor.metadata)
    engine.go.set()


def client_of(app: FastAPI) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://service", headers=JPEG)


def test_a_full_queue_turns_away_and_takes_again_once_there_is_room(held: tuple[Held, Predictor], photo: bytes) -> None:
    engine, predictor = held
    app = make_app(predictor, sha256="", limits=Limits(max_queued=3))

    async def story() -> None:
        async with app.state.service.lifespan(), client_of(app) as client:
            inside = [asyncio.create_task(client.post("/predict", content=photo)) for _ in range(3)]
            while app.state.service.num_images < 3:
                await asyncio.sleep(0.001)
            turned_away = await client.post("/predict", content=photo)
            assert (turned_away.status_code, turned_away.headers["Retry-After"]) == (503, "1")
            assert (await client.get("/health")).status_code == 200
            assert (await client.get("/ready")).status_code == 200
            assert "classifier_queue_images 3.0" in (await client.get("/metrics")).text
            engine.go.set()
            assert [reply.status_code for reply in await asyncio.gather(*inside)] == [200] * 3
            assert (await client.post("/predict", content=photo)).status_code == 200

    asyncio.run(story())


def test_a_request_of_more_pictures_than_there_is_room_for_is_turned_away_whole(
    held: tuple[Held, Predictor], photo: bytes
) -> None:
    app = make_app(held[1], sha256="", limits=Limits(max_queued=3))

    async def story() -> None:
        async with app.state.service.lifespan(), client_of(app) as client:
            client.headers.pop("Content-Type")
            files = [("images", (f"{index}.jpg", photo)) for index in range(4)]
            assert (await client.post("/predict", files=files)).status_code == 503
            assert app.state.service.num_images == 0

    asyncio.run(story())


def test_an_answer_that_takes_too_long_is_given_up_and_leaves_no_trace(
    held: tuple[Held, Predictor], photo: bytes
) -> None:
    engine, predictor = held
    app = make_app(predictor, sha256="", limits=Limits(response_timeout=0.2))

    async def story() -> None:
        async with app.state.service.lifespan(), client_of(app) as client:
            reply = await client.post("/predict", content=photo)
            assert (reply.status_code, reply.json()["detail"]) == (504, "no answer within 0.2 s")
            assert app.state.service.num_images == 0
            engine.go.set()
            assert (await client.post("/predict", content=photo)).status_code == 200

    asyncio.run(story())


def test_it_is_not_ready_any_more_once_batches_are_not_answered(bundle: Path) -> None:
    predictor, sha256 = load_bundle(bundle)
    app = make_app(predictor, sha256=sha256)

    async def story() -> None:
        async with app.state.service.lifespan(), client_of(app) as client:
            assert (await client.get("/ready")).status_code == 200
            app.state.service.batch_task.cancel()
            await asyncio.sleep(0)
            assert (await client.get("/ready")).status_code == 503

    asyncio.run(story())
