"""Dynamic batching of images from concurrent requests."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np

from cnn_classifier.data.images.preprocess import Pixels
from cnn_classifier.inference.backends import ModelOutput, OutputRow

QueueItem = tuple[Pixels, asyncio.Future[OutputRow]]


class Batcher:
    """A batcher that collects images while a forward pass runs and passes them to the next one together.

    An image waits for others only while these are being decoded, and at most `batch_wait` seconds.

    Args:
        predict: The function that maps preprocessed images, uint8 (B, H, W, C), to their output. It runs in a thread,
            one call at a time.
        num_decoding: A function that returns the number of images being decoded.
        max_batch_size: The maximum number of images per forward pass.
        batch_wait: The maximum time that an image waits for images being decoded, in seconds.
        on_batch: A callback that receives the size of each batch.
    """

    def __init__(
        self,
        predict: Callable[[Pixels], ModelOutput],
        num_decoding: Callable[[], int],
        *,
        max_batch_size: int,
        batch_wait: float,
        on_batch: Callable[[int], None],
    ) -> None:
        self.predict, self.num_decoding, self.max_batch_size, self.batch_wait, self.on_batch = (
            predict,
            num_decoding,
            max_batch_size,
            batch_wait,
            on_batch,
        )
        self.queue: asyncio.Queue[QueueItem] = asyncio.Queue()
        self.executor = ThreadPoolExecutor(1, "forward")

    async def predict_one(self, pixels: Pixels) -> OutputRow:
        """Return the output for one preprocessed image, uint8 (H, W, C)."""
        future: asyncio.Future[OutputRow] = asyncio.get_running_loop().create_future()
        self.queue.put_nowait((pixels, future))
        return await future

    async def run(self) -> None:
        """Process batches until cancelled."""
        while True:
            # Skip images whose request has timed out.
            batch = [(pixels, future) for pixels, future in await self.collect_batch() if not future.done()]
            if batch:
                await self.run_batch(batch)

    async def collect_batch(self) -> list[QueueItem]:
        """Return the next batch, which has at least one image."""
        batch = [await self.queue.get()]
        with suppress(TimeoutError):
            async with asyncio.timeout(self.batch_wait):
                while len(batch) < self.max_batch_size and (self.num_decoding() or not self.queue.empty()):
                    batch.append(await self.queue.get())
        return batch

    async def run_batch(self, batch: list[QueueItem]) -> None:
        """Run the forward pass of a batch in the thread, and resolve its futures."""
        self.on_batch(len(batch))
        images = np.stack([pixels for pixels, _ in batch])
        try:
            output = await asyncio.get_running_loop().run_in_executor(self.executor, self.predict, images)
        except Exception as error:  # reported by the requests of this batch; later batches are unaffected
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), row in zip(batch, output.to_rows(), strict=True):
            if not future.done():
                future.set_result(row)
