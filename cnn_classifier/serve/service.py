"""The prediction service: threaded decoding, dynamic batching and admission control."""

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
from cnn_classifier.inference.prediction import Prediction
from cnn_classifier.inference.predictor import Predictor
from cnn_classifier.serve.batching import Batcher
from cnn_classifier.serve.limits import Limits
from cnn_classifier.serve.metrics import Metrics
from cnn_classifier.serve.uploads import Upload


class Service:
    """A predictor for concurrent requests.

    Args:
        predictor: The predictor of the model.
        sha256: The SHA-256 of the model file.
        threshold: The minimum probability of a prediction that is not rejected. None uses the threshold of the model.
        limits: The limits on queue length, batch size and time.
    """

    def __init__(self, predictor: Predictor, *, sha256: str, threshold: float | None, limits: Limits) -> None:
        self.predictor, self.sha256, self.limits = predictor, sha256, limits
        self.threshold = threshold
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
        """Run the batcher while the context is active."""
        self.batch_task = asyncio.create_task(self.batcher.run())
        yield
        self.batch_task.cancel()

    @property
    def is_ready(self) -> bool:
        """Return whether the batcher is running."""
        return self.batch_task is not None and not self.batch_task.done()

    def check_capacity(self, num_images: int) -> None:
        """Raise 503 if the queue has no room for a number of images.

        Args:
            num_images: The number of images to add.

        Raises:
            HTTPException: 503 if the queue is full.
        """
        if self.num_images + num_images > self.limits.max_queued:
            raise HTTPException(503, "The queue is full. Try again later.", headers={"Retry-After": "1"})

    @contextmanager
    def reserve(self, num_images: int) -> Iterator[None]:
        """Reserve room in the queue while the context is active."""
        self.check_capacity(num_images)
        self.num_images += num_images
        try:
            yield
        finally:
            self.num_images -= num_images

    async def predict(self, uploads: Sequence[Upload], *, top_k: int, threshold: float | None) -> list[Prediction]:
        """Predict the class of each image.

        Args:
            uploads: The image files.
            top_k: The number of most probable classes in each prediction.
            threshold: The minimum probability of a prediction that is not rejected. None uses the threshold of the
                service.

        Returns:
            The predictions in input order. Unreadable images have an error instead of a label.

        Raises:
            HTTPException: 503 if the queue is full, 504 on a timeout.
        """
        threshold = self.threshold if threshold is None else threshold
        with self.reserve(len(uploads)):
            try:
                async with asyncio.timeout(self.limits.response_timeout):
                    return await asyncio.gather(*(self.predict_one(upload, top_k, threshold) for upload in uploads))
            except TimeoutError as error:
                raise HTTPException(
                    504, f"The prediction was not completed within {self.limits.response_timeout:g} s."
                ) from error

    async def predict_one(self, upload: Upload, top_k: int, threshold: float | None) -> Prediction:
        """Decode one image and predict its class."""
        self.num_decoding += 1
        try:
            pixels = await asyncio.get_running_loop().run_in_executor(self.decode_executor, self.decode, upload.data)
        except UnreadableImageError as error:
            self.metrics.count_unreadable(str(error))
            return Prediction(upload.name, error=str(error))
        finally:
            self.num_decoding -= 1
        row = await self.batcher.predict_one(pixels)
        prediction = self.predictor.to_prediction(upload.name, row, top_k, threshold)
        self.metrics.count_prediction(prediction)
        return prediction

    def decode(self, data: bytes) -> Pixels:
        """Decode and preprocess an image file, with the same result as `Preprocess.load`.

        Args:
            data: The bytes of the file.

        Returns:
            The pixels, uint8 (H, W, C).

        Raises:
            UnreadableImageError: If the file is not an image, or has too many pixels.
        """
        preprocess = self.predictor.preprocess
        with open_image(BytesIO(data)) as image:
            if image.width * image.height > self.limits.max_pixels:
                raise UnreadableImageError(f"too large: more than {self.limits.max_pixels:,} pixels")
            converted_image = convert_image(
                image, preprocess.channels, min_size=preprocess.image_size, value_range=preprocess.value_range
            )
        return preprocess.resize_image(converted_image)


def hash_preprocessing(preprocess: Preprocess) -> str:
    """Return a short hash that is equal for services with the same preprocessing settings."""
    return hashlib.sha256(json.dumps(preprocess.to_dict(), sort_keys=True).encode()).hexdigest()[:12]
