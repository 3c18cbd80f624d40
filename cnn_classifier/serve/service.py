"""From bytes to answers: decoded in threads, looked at in batches, and never more of them than there is room for."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from io import BytesIO

from fastapi import HTTPException

from cnn_classifier.data.images.decode import open_image
from cnn_classifier.data.images.preprocess import Pixels, Preprocess, convert_image
from cnn_classifier.data.parallel import NUM_CORES
from cnn_classifier.errors import UnreadableImageError
from cnn_classifier.inference.predictor import Prediction, Predictor
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
        self.threshold = predictor.metadata.threshold if threshold is None else threshold
        self.preprocessing = hash_preprocessing(predictor.preprocess)
        self.metrics = Metrics(sha256=sha256, preprocessing=self.preprocessing)
        self.metrics.queued_images.set_function(lambda: self.num_images)
        self.decode_executor = ThreadPoolExecutor(NUM_CORES, "decode")
        self.num_images = self.num_decoding = 0
        self.batcher = Batcher(
            predictor.predict_batch,
            lambda: self.num_decoding,
            max_batch_size=limits.max_batch_size,
            batch_wait=limits.batch_wait,
            on_batch=self.metrics.batch_size.observe,
        )
        self.batch_task: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Answers are given inside of this."""
        self.batch_task = asyncio.create_task(self.batcher.run())
        yield
        self.batch_task.cancel()

    @property
    def is_ready(self) -> bool:
        """Whether batches are answered; the model was tried when it was loaded."""
        return self.batch_task is not None and not self.batch_task.done()

    def check_capacity(self, num_images: int) -> None:
        """Turn away what there is no room for.

        Raises:
            HTTPException: 503 if there are too many images already.
        """
        if self.num_images + num_images > self.limits.max_queued:
            raise HTTPException(503, "too much to do; try again", headers={"Retry-After": "1"})

    @contextmanager
    def reserve(self, num_images: int) -> Iterator[None]:
        """Count these images for as long as they are here."""
        self.check_capacity(num_images)
        self.num_images += num_images
        try:
            yield
        finally:
            self.num_images -= num_images

    async def predict(self, uploads: Sequence[Upload], *, top_k: int, threshold: float | None) -> list[Prediction]:
        """An answer for each image, in order; unreadable ones carry an error.

        Args:
            images: Files.
            top_k: How many classes each answer names.
            threshold: Below this probability the label is `unknown`; None for the service's own.

        Raises:
            HTTPException: 503 if there is no room, 504 if it takes too long.
        """
        min_probability = self.threshold if threshold is None else threshold
        with self.reserve(len(uploads)):
            try:
                async with asyncio.timeout(self.limits.response_timeout):
                    return await asyncio.gather(
                        *(self.predict_one(upload, top_k, min_probability) for upload in uploads)
                    )
            except TimeoutError as error:
                raise HTTPException(504, f"no answer within {self.limits.response_timeout:g} s") from error

    async def predict_one(self, upload: Upload, top_k: int, min_probability: float) -> Prediction:
        self.num_decoding += 1
        try:
            pixels = await asyncio.get_running_loop().run_in_executor(self.decode_executor, self.decode, upload.data)
        except UnreadableImageError as error:
            self.metrics.count_unreadable(str(error))
            return Prediction(upload.name, error=str(error))
        finally:
            self.num_decoding -= 1
        return self.predictor.to_prediction(upload.name, await self.batcher.predict_one(pixels), top_k, min_probability)

    def decode(self, data: bytes) -> Pixels:
        """The bytes of a file as final pixels uint8 (H, W, C), as every other command makes them of a file.

        Raises:
            UnreadableImageError: If it is no image, or has too many pixels.
        """
        preprocess = self.predictor.preprocess
        with open_image(BytesIO(data)) as image:
            if image.width * image.height > self.limits.max_pixels:
                raise UnreadableImageError(f"too large: more than {self.limits.max_pixels:,} pixels")
            converted_image = convert_image(image, preprocess.channels, min_size=preprocess.image_size)
        return preprocess.resize_image(converted_image)


def hash_preprocessing(preprocess: Preprocess) -> str:
    """A short name of this way to make pixels: services with the same one see the same pixels."""
    return hashlib.sha256(json.dumps(preprocess.to_dict(), sort_keys=True).encode()).hexdigest()[:12]
