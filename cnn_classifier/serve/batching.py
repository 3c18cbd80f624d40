"""Put images of many requests into one forward pass: sixteen at once cost less than sixteen times one."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np

from cnn_classifier.data.images.preprocess import Pixels
from cnn_classifier.inference.backends import ModelOutput, OutputRow

QueueItem = tuple[Pixels, asyncio.Future[OutputRow]]


class Batcher:
    """Collects images while a forward pass runs, and gives all of them to the next.

    A lone image never waits: only while others are on their way does it wait for them, and not for long.

    Args:
        look: Final pixels uint8 (B, H, W, C) -> answers; called in a thread, one call at a time.
        coming: How many images are being decoded.
        most: Images a pass.
        wait: Seconds that an image waits for those that are coming.
        seen: Told the size of each batch.
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
        """Final pixels uint8 (H, W, C) of one image -> its row of the answers."""
        future: asyncio.Future[OutputRow] = asyncio.get_running_loop().create_future()
        self.queue.put_nowait((pixels, future))
        return await future

    async def run(self) -> None:
        """Answer batch after batch until cancelled."""
        while True:
            # Whoever has given up by now, because of the time limit, needs no answer.
            batch = [(pixels, future) for pixels, future in await self.collect_batch() if not future.done()]
            if batch:
                await self.run_batch(batch)

    async def collect_batch(self) -> list[QueueItem]:
        """The next images, at least one."""
        batch = [await self.queue.get()]
        with suppress(TimeoutError):
            async with asyncio.timeout(self.batch_wait):
                while len(batch) < self.max_batch_size and (self.num_decoding() or not self.queue.empty()):
                    batch.append(await self.queue.get())
        return batch

    async def run_batch(self, batch: list[QueueItem]) -> None:
        """Look at a batch in the thread, and hand the rows to those who asked."""
        self.on_batch(len(batch))
        images = np.stack([pixels for pixels, _ in batch])
        try:
            output = await asyncio.get_running_loop().run_in_executor(self.executor, self.predict, images)
        except Exception as error:  # theirs to report; the next batch may fare better
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), row in zip(batch, output.to_rows(), strict=True):
            if not future.done():
                future.set_result(row)
