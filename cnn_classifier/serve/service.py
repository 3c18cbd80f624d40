"""From bytes to answers: decoded in threads, looked at in batches, and never more of them than there is room for."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from io import BytesIO

from fastapi import HTTPException

from cnn_classifier.data.parallel import CORES
from cnn_classifier.data.preprocess import Pixels, Preprocess, converted, opened
from cnn_classifier.errors import UnreadableImageError
from cnn_classifier.predictor import Prediction, Predictor
from cnn_classifier.serve.batching import Batcher
from cnn_classifier.serve.limits import Limits
from cnn_classifier.serve.metrics import Metrics
from cnn_classifier.serve.uploads import Upload


class Service:
    """A predictor for many clients at once.

    Args:
        predictor: What answers.
        sha256: Of its model.
        threshold: Below this probability the label is `unknown`; None for the model's own.
        limits: How much of it at once.
    """

    def __init__(self, predictor: Predictor, *, sha256: str, threshold: float | None, limits: Limits) -> None:
        self.predictor, self.sha256, self.limits = predictor, sha256, limits
        self.threshold = predictor.card.threshold if threshold is None else threshold
        self.preprocessing = digest(predictor.preprocess)
        self.metrics = Metrics(sha256=sha256, preprocessing=self.preprocessing)
        self.metrics.queue.set_function(lambda: self.images)
        self.decoders = ThreadPoolExecutor(CORES, "decode")
        self.images = self.decoding = 0
        self.batcher = Batcher(
            predictor.look,
            lambda: self.decoding,
            most=limits.batch,
            wait=limits.wait,
            seen=self.metrics.batch.observe,
        )
        self.batches: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Answers are given inside of this."""
        self.batches = asyncio.create_task(self.batcher.run())
        yield
        self.batches.cancel()

    @property
    def is_ready(self) -> bool:
        """Whether batches are answered; the model was tried when it was loaded."""
        return self.batches is not None and not self.batches.done()

    def need_room(self, images: int) -> None:
        """Turn away what there is no room for.

        Raises:
            HTTPException: 503 if there are too many images already.
        """
        if self.images + images > self.limits.queue:
            raise HTTPException(503, "too much to do; try again", headers={"Retry-After": "1"})

    @contextmanager
    def room_for(self, images: int) -> Iterator[None]:
        """Count these images for as long as they are here."""
        self.need_room(images)
        self.images += images
        try:
            yield
        finally:
            self.images -= images

    async def predict(self, images: Sequence[Upload], *, top: int, threshold: float | None) -> list[Prediction]:
        """An answer for each image, in order; unreadable ones carry an error.

        Args:
            images: Files.
            top: How many classes each answer names.
            threshold: Below this probability the label is `unknown`; None for the service's own.

        Raises:
            HTTPException: 503 if there is no room, 504 if it takes too long.
        """
        least = self.threshold if threshold is None else threshold
        with self.room_for(len(images)):
            try:
                async with asyncio.timeout(self.limits.answer):
                    return await asyncio.gather(*(self.predict_one(image, top, least) for image in images))
            except TimeoutError as error:
                raise HTTPException(504, f"no answer within {self.limits.answer:g} s") from error

    async def predict_one(self, image: Upload, top: int, least: float) -> Prediction:
        self.decoding += 1
        try:
            pixels = await asyncio.get_running_loop().run_in_executor(self.decoders, self.decode, image.data)
        except UnreadableImageError as error:
            self.metrics.count_unreadable(str(error))
            return Prediction(image.name, error=str(error))
        finally:
            self.decoding -= 1
        return self.predictor.answer(image.name, await self.batcher.row(pixels), top, least)

    def decode(self, data: bytes) -> Pixels:
        """The bytes of a file as final pixels uint8 (H, W, C), as every other command makes them of a file.

        Raises:
            UnreadableImageError: If it is no image, or has too many pixels.
        """
        preprocess = self.predictor.preprocess
        with opened(BytesIO(data)) as image:
            if image.width * image.height > self.limits.pixels:
                raise UnreadableImageError(f"too large: more than {self.limits.pixels:,} pixels")
            picture = converted(image, preprocess.channels, least=preprocess.image_size)
        return preprocess.resized(picture)


def digest(preprocess: Preprocess) -> str:
    """A short name of this way to make pixels: services with the same one see the same pixels."""
    return hashlib.sha256(json.dumps(preprocess.as_dict(), sort_keys=True).encode()).hexdigest()[:12]
